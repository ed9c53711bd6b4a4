// SPDX-License-Identifier: Apache-2.0

package import KubernetesAPI

/// Encodes the bodies and frames of an API server.
package enum ObjectEncoder {
    /// Returns the body of a list, or of a page of one, whose objects all have these annotations.
    package static func list<Object: EncodableObject>(
        _ objects: [Object], metadata: ListMetadata, padding: Int = 0, annotations: [String: String] = [:]
    ) -> [UInt8] {
        list(
            of: Object.self, metadata: metadata,
            messages: objects.lazy.map {
                $0.message(resourceVersion: metadata.resourceVersion, padding: padding, annotations: annotations)
            })
    }

    /// Returns the body of a list of messages, which may be malformed.
    package static func list<Object: EncodableObject>(
        of type: Object.Type, metadata: ListMetadata, messages: some Sequence<[UInt8]>
    ) -> [UInt8] {
        var list = ProtobufWriter()
        list.append(1) { writer in
            writer.append(1, "")
            writer.append(2, metadata.resourceVersion)
            writer.append(3, metadata.continueToken ?? "")
            if let count = metadata.remainingItemCount { writer.append(4, count) }
        }
        for message in messages { list.append(2, message) }
        return envelope("\(Object.kind.name)List", Object.kind.apiVersion, list.bytes)
    }

    /// Returns a watch's frame for an object; the type is `ADDED`, `MODIFIED` or `DELETED`.
    package static func event<Object: EncodableObject>(
        _ type: String, _ object: Object, resourceVersion: String, padding: Int = 0
    ) -> [UInt8] {
        event(type, of: Object.self, message: object.message(resourceVersion: resourceVersion, padding: padding))
    }

    /// Returns a watch's frame with a message, which may be malformed.
    package static func event<Object: EncodableObject>(
        _ type: String, of object: Object.Type, message: [UInt8]
    ) -> [UInt8] {
        frame(type, envelope(Object.kind.name, Object.kind.apiVersion, message))
    }

    /// Returns the frame of a bookmark. `endsInitialEvents` adds the annotation `k8s.io/initial-events-end`.
    package static func bookmark<Object: EncodableObject>(
        of object: Object.Type, resourceVersion: String, endsInitialEvents: Bool = false
    ) -> [UInt8] {
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.append(1, "")
            metadata.append(6, resourceVersion)
            if endsInitialEvents { metadata.append(12, entry: "k8s.io/initial-events-end", "true") }
        }
        return event("BOOKMARK", of: object, message: message.bytes)
    }

    /// Returns the frame of a watch's ERROR event.
    package static func error(_ status: KubernetesStatus) -> [UInt8] { frame("ERROR", self.status(status)) }

    /// Returns the body of a rejection.
    package static func status(_ status: KubernetesStatus) -> [UInt8] {
        var message = ProtobufWriter()
        message.append(2, "Failure")
        message.append(3, status.message)
        message.append(4, status.reason)
        if let seconds = status.retryAfterSeconds {
            message.append(5) { $0.append(5, seconds) }
        }
        message.append(6, status.code)
        return envelope("Status", "v1", message.bytes)
    }

    /// Returns a message in its envelope: `k8s\0` and a message `Unknown`.
    private static func envelope(_ kind: String, _ apiVersion: String, _ message: [UInt8]) -> [UInt8] {
        var unknown = ProtobufWriter()
        unknown.append(1) { type in
            type.append(1, apiVersion)
            type.append(2, kind)
        }
        unknown.append(2, message)
        unknown.append(3, "")
        unknown.append(4, "")
        return Array("k8s\0".utf8) + unknown.bytes
    }

    private static func frame(_ type: String, _ object: [UInt8]) -> [UInt8] {
        var event = ProtobufWriter()
        event.append(1, type)
        event.append(2) { $0.append(1, object) }
        let length = UInt32(event.bytes.count)
        return (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + event.bytes
    }
}
