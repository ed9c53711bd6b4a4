// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto

/// A kind of object that the API server lists and watches: its path, the selection of objects, and the decoder of one
/// object.
public struct KubernetesResource<Object: Sendable>: Sendable {
    /// The resource's name, for logs and metrics: `pods`.
    package let name: String
    /// The resource's path on the API server: `/api/v1/pods`.
    package let path: String
    /// The selector of the requested objects (`fieldSelector`); nil for all.
    package let fieldSelector: String?
    /// The `Accept` header of a list.
    package let listContentType: String
    /// The `Accept` header of a watch.
    package let watchContentType: String

    /// Decodes one object from its message.
    let decode: @Sendable (UnsafeRawBufferPointer, ProtobufArena) throws(MalformedObject) -> DecodedObject<Object>
    /// Makes an object from its identity alone; nil if that is not enough.
    private let bare: @Sendable (ObjectIdentity) -> Object?

    /// Describes a resource; `asPartialMetadata` requests the objects' metadata alone.
    init<Message: ObjectMessage>(
        name: String, path: String, fieldSelector: String? = nil, asPartialMetadata: Bool = false,
        unpack:
            @escaping @Sendable (
                UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?
            ) -> UnsafeMutablePointer<Message>?,
        decode:
            @escaping @Sendable (
                ObjectMeta, Message, inout AddressReader
            ) throws(MalformedObject.Problem) -> Object,
        bare: @escaping @Sendable (ObjectIdentity) -> Object?
    ) {
        self.bare = bare
        let protobuf = "application/vnd.kubernetes.protobuf"
        self.name = name
        self.path = path
        self.fieldSelector = fieldSelector
        let partial = "as=PartialObjectMetadata"
        let version = "g=meta.k8s.io;v=v1"
        listContentType = asPartialMetadata ? "\(protobuf);\(partial)List;\(version)" : protobuf
        watchContentType = asPartialMetadata ? "\(protobuf);\(partial);\(version)" : protobuf
        self.decode = { bytes, arena throws(MalformedObject) in
            guard bytes.count <= KubernetesLimits.objectLength else {
                throw MalformedObject(resource: name, problem: .tooLong(bytes.count))
            }
            guard let message = arena.unpack(bytes, unpack)?.pointee else {
                throw MalformedObject(resource: name, problem: .notAMessage(bytes.count))
            }
            guard let metadata = message.metadata?.pointee else {
                throw MalformedObject(resource: name, problem: .missing(field: "metadata"))
            }
            do throws(MalformedObject.Problem) {
                var reader = AddressReader()
                return DecodedObject(
                    object: try decode(metadata, message, &reader),
                    resourceVersion: try String(metadata.resource_version, field: "metadata.resourceVersion"),
                    unreadableAddresses: reader.unreadable)
            } catch {
                throw MalformedObject(
                    resource: name, namespace: metadata.namespace_.map { String(cString: $0) } ?? "",
                    name: metadata.name.map { String(cString: $0) } ?? "", problem: error)
            }
        }
    }

    /// Reads only the identity of a deleted object; returns nil if not even that can be read.
    func identify(_ bytes: UnsafeRawBufferPointer, _ arena: ProtobufArena) -> DecodedObject<Object>? {
        guard
            let message = arena.unpack(bytes, kubenetmon__kubernetes__partial_object_metadata__unpack),
            let metadata = message.pointee.metadata?.pointee
        else { return nil }
        let identity = metadata.identity
        guard identity.isKnown, let object = bare(identity) else { return nil }
        let version = try? String(metadata.resource_version, field: "metadata.resourceVersion")
        return DecodedObject(object: object, resourceVersion: version ?? "")
    }
}

/// A decoded object.
struct DecodedObject<Object> {
    let object: Object
    /// The version of the cluster's state that produced the object; empty if the server gives none.
    let resourceVersion: String
    /// Addresses of the object that could not be read and were skipped.
    var unreadableAddresses = 0
}

/// A message of the API server with the metadata that every object has.
protocol ObjectMessage: SendableMetatype {
    var metadata: UnsafeMutablePointer<ObjectMeta>! { get }
}
