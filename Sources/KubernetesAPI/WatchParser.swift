// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto

/// Parses the frames of a watch.
struct WatchParser<Object: Sendable>: StreamParser {
    private(set) var malformedObjects = 0
    private(set) var unreadableAddresses = 0
    private(set) var lastMalformedObject: MalformedObject?

    private let resource: KubernetesResource<Object>
    private let arena = ProtobufArena(limit: KubernetesLimits.unpackedLength)

    init(resource: KubernetesResource<Object>) { self.resource = resource }

    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, _ body: (WatchEvent<Object>) -> Void
    ) throws(KubernetesDecodingError) -> StreamStep {
        let headerLength = MemoryLayout<UInt32>.size
        guard bytes.count >= headerLength else { return .needs(headerLength) }
        let length = Int(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        guard length <= KubernetesLimits.frameLength else {
            throw .tooLong(part: "a frame of the watch", length: UInt64(length), limit: KubernetesLimits.frameLength)
        }
        guard bytes.count >= headerLength + length else { return .needs(headerLength + length) }
        arena.reset()
        if let event = try event(UnsafeRawBufferPointer(rebasing: bytes[headerLength..<headerLength + length])) {
            body(event)
        }
        return .consumed(headerLength + length)
    }

    private mutating func event(
        _ frame: UnsafeRawBufferPointer
    ) throws(KubernetesDecodingError) -> WatchEvent<Object>? {
        guard let message = arena.unpack(frame, kubenetmon__kubernetes__watch_event__unpack) else {
            throw .malformed("a frame of \(frame.count) bytes is not a watch event")
        }
        switch message.pointee.type.map({ String(cString: $0) }) {
        case "ADDED", "MODIFIED":
            return change(try object(message), isDeletion: false)
        case "DELETED":
            return change(try object(message), isDeletion: true)
        case "BOOKMARK":
            return try bookmark(object(message))
        case "ERROR":
            guard let status = KubernetesStatus(message: try object(message), arena) else {
                throw .malformed("the object of an error is not a status")
            }
            return .failed(status)
        default:
            return nil
        }
    }

    /// Returns the object's message without its envelope.
    private func object(
        _ event: UnsafePointer<Kubenetmon__Kubernetes__WatchEvent>
    ) throws(KubernetesDecodingError) -> UnsafeRawBufferPointer {
        guard let object = event.pointee.object else { throw .malformed("a watch event has no object") }
        let raw = UnsafeRawBufferPointer(start: object.pointee.raw.data, count: object.pointee.raw.len)
        return try KubernetesEnvelope.unwrap(raw, arena)
    }

    private mutating func change(_ bytes: UnsafeRawBufferPointer, isDeletion: Bool) -> WatchEvent<Object>? {
        do throws(MalformedObject) {
            let decoded = try resource.decode(bytes, arena)
            unreadableAddresses += decoded.unreadableAddresses
            guard !decoded.resourceVersion.isEmpty else {
                throw MalformedObject(resource: resource.name, problem: .missing(field: "metadata.resourceVersion"))
            }
            return isDeletion
                ? .deleted(decoded.object, resourceVersion: decoded.resourceVersion)
                : .updated(decoded.object, resourceVersion: decoded.resourceVersion)
        } catch {
            // A deleted object must not stay in the store for ever because the rest of it cannot be read.
            if isDeletion, let decoded = resource.identify(bytes, arena) {
                return .deleted(decoded.object, resourceVersion: decoded.resourceVersion)
            }
            malformedObjects += 1
            lastMalformedObject = error
            return nil
        }
    }

    private func bookmark(_ bytes: UnsafeRawBufferPointer) throws(KubernetesDecodingError) -> WatchEvent<Object> {
        guard
            let message = arena.unpack(bytes, kubenetmon__kubernetes__partial_object_metadata__unpack),
            let metadata = message.pointee.metadata,
            let version = metadata.pointee.resource_version, version.pointee != 0
        else { throw .malformed("a bookmark has no resourceVersion") }
        let endsInitialEvents = metadata.pointee.value(ofAnnotation: "k8s.io/initial-events-end") == "true"
        return .bookmark(resourceVersion: String(cString: version), endsInitialEvents: endsInitialEvents)
    }
}
