// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import ClusterModel
import FlowModel

/// The metadata of an object, in the memory of a ``ProtobufArena``.
typealias ObjectMeta = Kubenetmon__Kubernetes__ObjectMeta

extension ObjectMeta {
    /// The name, which every object has.
    var checkedName: String {
        get throws(MalformedObject.Problem) {
            let name = try String(name, field: "metadata.name")
            guard !name.isEmpty else { throw .missing(field: "metadata.name") }
            return name
        }
    }

    /// The namespace; empty for a cluster-scoped object.
    var checkedNamespace: String {
        get throws(MalformedObject.Problem) { try String(namespace_, field: "metadata.namespace") }
    }

    /// The UID; nil if there is none.
    var checkedUID: ObjectUID? {
        get throws(MalformedObject.Problem) {
            let text = try String(uid, field: "metadata.uid")
            return text.isEmpty ? nil : ObjectUID(text)
        }
    }

    /// The owner reference marked as the controller; nil without one.
    var controller: ObjectOwner? {
        get throws(MalformedObject.Problem) {
            for index in 0..<n_owner_references {
                guard let owner = owner_references[index]?.pointee, owner.controller != 0 else { continue }
                return ObjectOwner(
                    kind: try String(owner.kind, field: "metadata.ownerReferences.kind"),
                    name: try String(owner.name, field: "metadata.ownerReferences.name"),
                    uid: ObjectUID(try String(owner.uid, field: "metadata.ownerReferences.uid")))
            }
            return nil
        }
    }

    /// Calls `body` with the key and the value of each label.
    func forEachLabel<E: Error>(
        _ body: (UnsafePointer<CChar>, UnsafePointer<CChar>?) throws(E) -> Void
    ) throws(E) {
        for index in 0..<n_labels {
            guard let label = labels[index]?.pointee, let key = label.key else { continue }
            try body(key, label.value)
        }
    }

    /// Returns the value of an annotation; nil if the object does not have it.
    func value(ofAnnotation key: String) -> String? {
        for index in 0..<n_annotations {
            guard let annotation = annotations[index]?.pointee, let found = annotation.key else { continue }
            if String(cString: found) == key { return annotation.value.map { String(cString: $0) } ?? "" }
        }
        return nil
    }
}

extension UInt32 {
    /// Converts a time to seconds since the Unix epoch; 0 if it is missing or out of range.
    init(_ time: UnsafePointer<Kubenetmon__Kubernetes__Time>?) {
        self = time.flatMap { UInt32(exactly: $0.pointee.seconds) } ?? 0
    }
}

extension String {
    /// Reads a text field; empty if it is absent.
    init(_ text: UnsafePointer<CChar>?, field: StaticString) throws(MalformedObject.Problem) {
        guard let text else {
            self = ""
            return
        }
        guard let valid = String(validatingCString: text) else { throw .notUTF8(field: "\(field)") }
        self = valid
    }
}

extension ObjectMeta {
    /// The object's identity, as far as it can be read.
    var identity: ObjectIdentity {
        ObjectIdentity(
            uid: (try? checkedUID) ?? nil, namespace: (try? checkedNamespace) ?? "", name: (try? checkedName) ?? "")
    }
}
