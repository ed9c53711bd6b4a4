// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import KubernetesAPI

extension KubernetesResource where Object == Pod {
    /// Pods with one of the labels that the captures have.
    static var capturedPods: KubernetesResource { .pods(labels: PodLabelMapping(kept: ["pod-template-hash"])) }
}

extension Array where Element == UInt8 {
    /// The bytes cut into pieces of these lengths; the last length is used over and over.
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

/// All that a list's decoder tells of a body.
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

/// All that a watch's decoder tells of a body.
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
