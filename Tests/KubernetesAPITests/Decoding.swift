// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import KubernetesAPI

extension KubernetesResource where Object == Pod {
    /// The resource of pods, with one of the labels in the captures.
    static var capturedPods: KubernetesResource { .pods(labels: PodLabelMapping(kept: ["pod-template-hash"])) }
}

extension Array where Element == UInt8 {
    /// Returns the bytes split into pieces of these lengths; the last length is repeated.
    func chunks(_ lengths: [Int]) -> [ArraySlice<UInt8>] {
        var chunks: [ArraySlice<UInt8>] = []
        var rest = self[...]
        var lengths = lengths[...]
        while !rest.isEmpty, let length = lengths.first {
            chunks.append(rest.prefix(length))
            rest = rest.dropFirst(length)
            if lengths.count > 1 { lengths.removeFirst() }
        }
        return chunks
    }
}

/// The complete result of decoding a list's body.
struct DecodedList<Object: Sendable & Equatable>: Equatable {
    var objects: [Object] = []
    var metadata: ListMetadata?
    var malformedObjects = 0
    var unreadableAddresses = 0
    var lastMalformedObject: MalformedObject?

    /// Decodes a body that arrives in chunks.
    init(
        _ resource: KubernetesResource<Object>, _ chunks: [ArraySlice<UInt8>]
    ) throws(KubernetesDecodingError) {
        var decoder = ListDecoder(resource)
        for chunk in chunks {
            try chunk.withUnsafeBufferPointer { bytes throws(KubernetesDecodingError) in
                try decoder.feed(UnsafeRawBufferPointer(bytes)) { objects.append($0) }
            }
        }
        metadata = try decoder.finish()
        malformedObjects = decoder.malformedObjects
        unreadableAddresses = decoder.unreadableAddresses
        lastMalformedObject = decoder.lastMalformedObject
    }

    /// Decodes a body that arrives at once.
    init(_ resource: KubernetesResource<Object>, _ body: [UInt8]) throws(KubernetesDecodingError) {
        try self.init(resource, [body[...]])
    }
}

/// The complete result of decoding a watch's body.
struct DecodedWatch<Object: Sendable & Equatable>: Equatable {
    var events: [WatchEvent<Object>] = []
    var isInMidFrame = false
    var malformedObjects = 0
    var unreadableAddresses = 0
    var lastMalformedObject: MalformedObject?

    /// Decodes a body that arrives in chunks.
    init(
        _ resource: KubernetesResource<Object>, _ chunks: [ArraySlice<UInt8>]
    ) throws(KubernetesDecodingError) {
        var decoder = WatchDecoder(resource)
        for chunk in chunks {
            try chunk.withUnsafeBufferPointer { bytes throws(KubernetesDecodingError) in
                try decoder.feed(UnsafeRawBufferPointer(bytes)) { events.append($0) }
            }
        }
        isInMidFrame = decoder.isInMidFrame
        malformedObjects = decoder.malformedObjects
        unreadableAddresses = decoder.unreadableAddresses
        lastMalformedObject = decoder.lastMalformedObject
    }

    /// Decodes a body that arrives at once.
    init(_ resource: KubernetesResource<Object>, _ body: [UInt8]) throws(KubernetesDecodingError) {
        try self.init(resource, [body[...]])
    }
}
