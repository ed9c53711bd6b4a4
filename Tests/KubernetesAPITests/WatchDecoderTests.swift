// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import KubernetesAPI
import KubernetesTestKit
import TestSupport
import Testing

@Suite struct WatchDecoderTests {
    /// The frame of an event about a new node, with little more than the fields that are read.
    private static let annotatedFrame: [UInt8] = [
        // The length of the message, big-endian: 106.
        0x00, 0x00, 0x00, 0x6a,
        // WatchEvent.type (1), 5 bytes: ADDED.
        0x0a, 0x05, 0x41, 0x44, 0x44, 0x45, 0x44,
        // WatchEvent.object (2), 97 bytes: a RawExtension.
        0x12, 0x61,
        // RawExtension.raw (1), 95 bytes.
        0x0a, 0x5f,
        // The magic "k8s\0"; what follows is an Unknown.
        0x6b, 0x38, 0x73, 0x00,
        // Unknown.typeMeta (1), 10 bytes.
        0x0a, 0x0a,
        // TypeMeta.apiVersion (1), 2 bytes: v1.
        0x0a, 0x02, 0x76, 0x31,
        // TypeMeta.kind (2), 4 bytes: Node.
        0x12, 0x04, 0x4e, 0x6f, 0x64, 0x65,
        // Unknown.raw (2), 77 bytes: the Node.
        0x12, 0x4d,
        // Node.metadata (1), 53 bytes.
        0x0a, 0x35,
        // ObjectMeta.name (1), 6 bytes: node-a.
        0x0a, 0x06, 0x6e, 0x6f, 0x64, 0x65, 0x2d, 0x61,
        // ObjectMeta.resourceVersion (6), 3 bytes: 278.
        0x32, 0x03, 0x32, 0x37, 0x38,
        // ObjectMeta.labels (11), 38 bytes: an entry of the map.
        0x5a, 0x26,
        // The entry's key (1), 27 bytes: topology.kubernetes.io/zone.
        0x0a, 0x1b, 0x74, 0x6f, 0x70, 0x6f, 0x6c, 0x6f, 0x67, 0x79, 0x2e, 0x6b, 0x75, 0x62, 0x65, 0x72, 0x6e, 0x65,
        0x74, 0x65, 0x73, 0x2e, 0x69, 0x6f, 0x2f, 0x7a, 0x6f, 0x6e, 0x65,
        // Its value (2), 7 bytes: test-1a.
        0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x2d, 0x31, 0x61,
        // Node.status (3), 20 bytes.
        0x1a, 0x14,
        // NodeStatus.addresses (5), 18 bytes.
        0x2a, 0x12,
        // NodeAddress.type (1), 10 bytes: InternalIP.
        0x0a, 0x0a, 0x49, 0x6e, 0x74, 0x65, 0x72, 0x6e, 0x61, 0x6c, 0x49, 0x50,
        // NodeAddress.address (2), 4 bytes: fd::.
        0x12, 0x04, 0x66, 0x64, 0x3a, 0x3a,
    ]

    @Test("every field of a watch frame is decoded") func aFrameIsReadFieldByField() throws {
        let watch = try DecodedWatch(.nodes, Self.annotatedFrame)
        let node = Node(
            name: "node-a", addresses: [IPAddress(bits: 0xfd << 112)], zone: "test-1a")
        #expect(watch.events == [.updated(node, resourceVersion: "278")])
        #expect(!watch.isInMidFrame)
    }

    @Test("events decoded from protobuf equal those decoded from JSON") func eventsAreWhatTheirJSONSays() throws {
        let expected = try Capture.watch("pods.watch.json").map { event -> WatchEvent<Pod> in
            let version = try #require(event.object.metadata.resourceVersion)
            switch event.type {
            case "DELETED": return .deleted(try event.object.pod, resourceVersion: version)
            case "BOOKMARK": return .bookmark(resourceVersion: version, endsInitialEvents: false)
            default: return .updated(try event.object.pod, resourceVersion: version)
            }
        }
        let watch = try DecodedWatch(.capturedPods, Capture.bytes("pods.watch.pb"))
        #expect(watch.events == expected)
        #expect(watch.events.count == 5)
        #expect(watch.events.last == .bookmark(resourceVersion: "330", endsInitialEvents: false))
        #expect(watch.malformedObjects == 0)
    }

    @Test("a streaming list ends with its bookmark") func aStreamedListEndsWithItsBookmark() throws {
        let events = try DecodedWatch(.capturedPods, Capture.bytes("pods.watchlist.pb")).events
        let end = try #require(events.firstIndex(of: .bookmark(resourceVersion: "311", endsInitialEvents: true)))
        let streamed = events[..<end].map { event -> Pod? in
            if case .updated(let pod, _) = event { pod } else { nil }
        }
        let listed = try DecodedList(.capturedPods, Capture.bytes("pods.list.pb")).objects
        #expect(Set(streamed) == Set(listed))
        #expect(streamed.count == listed.count)
        let later = try DecodedWatch(.capturedPods, Capture.bytes("pods.watch.pb")).events.prefix(3)
        #expect(events[end...].dropFirst() == later + [.bookmark(resourceVersion: "316", endsInitialEvents: false)])
    }

    @Test("an expired version is decoded as a failure") func anExpiredVersionIsAFailure() throws {
        let watch = try DecodedWatch(.capturedPods, Capture.bytes("pods.watch-expired.pb"))
        let status = KubernetesStatus(
            code: 410, reason: "Expired", message: "too old resource version: 1 (354)")
        #expect(watch.events == [.failed(status)])
    }

    @Test(
        "a watch decoded from chunks of any length is the same",
        arguments: ["pods.watch.pb", "pods.watchlist.pb", "pods.watch-expired.pb"])
    func chunksOfAnyLengthGiveTheSame(_ name: String) throws {
        let body = try Capture.bytes(name)
        let whole = try DecodedWatch(.capturedPods, body)
        for length in [1, 3, 5, 1000, 2159, 16_384] {
            #expect(try DecodedWatch(.capturedPods, body.chunks([length])) == whole)
        }
    }

    @Test("a watch decoded from two parts is the same wherever it is cut") func aWatchMayBeCutAnywhere() throws {
        let body = Self.annotatedFrame + Self.annotatedFrame
        let whole = try DecodedWatch(.nodes, body)
        for position in 0...body.count {
            #expect(try DecodedWatch(.nodes, body.chunks([position, body.count])) == whole, "cut at \(position)")
        }
    }

    @Test("a watch that ends knows whether it is within a frame")
    func aWatchThatEndsTellsWhetherItIsInMidFrame() throws {
        let body = Self.annotatedFrame + Self.annotatedFrame
        for length in 0...body.count {
            let watch = try DecodedWatch(.nodes, Array(body.prefix(length)))
            #expect(watch.isInMidFrame == !length.isMultiple(of: Self.annotatedFrame.count), "\(length) bytes")
            #expect(watch.events.count == length / Self.annotatedFrame.count)
        }
    }

    @Test("an event of an unknown type is skipped") func anEventOfAnUnknownTypeIsPassedOver() throws {
        let node = Node(name: "a", addresses: [])
        let body =
            ObjectEncoder.event("REWOUND", node, resourceVersion: "1") + [0, 0, 0, 0]
            + ObjectEncoder.event("ADDED", node, resourceVersion: "2")
        let watch = try DecodedWatch(.nodes, body)
        #expect(watch.events == [.updated(node, resourceVersion: "2")])
        #expect(watch.malformedObjects == 0)
    }

    /// Returns node `node-b` with a label that is not UTF-8.
    private static func unreadableNode(uid: String, version: String) -> [UInt8] {
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.append(1, "node-b")
            metadata.append(5, uid)
            metadata.append(6, version)
            metadata.append(11) { label in
                label.append(1, "topology.kubernetes.io/zone")
                label.append(2, [0xc3, 0x28])
            }
        }
        return message.bytes
    }

    @Test("a malformed object of a watch is skipped and counted")
    func aMalformedObjectIsPassedOverAndCounted() throws {
        let node = Node(name: "a", addresses: [])
        let body =
            ObjectEncoder.event("MODIFIED", of: Node.self, message: Self.unreadableNode(uid: "", version: "3"))
            + ObjectEncoder.event("ADDED", node, resourceVersion: "4")
        let watch = try DecodedWatch(.nodes, body)
        #expect(watch.events == [.updated(node, resourceVersion: "4")])
        #expect(watch.malformedObjects == 1)
        #expect(
            watch.lastMalformedObject?.description == "nodes/node-b cannot be read: metadata.labels is not UTF-8")
    }

    @Test("a deletion is decoded by UID or name although the object is malformed")
    func whatIsGoneIsDeletedWhateverElseCannotBeRead() throws {
        let uid = "7d9b2f0e-1111-4222-8333-944455556666"
        let noLabel = Self.unreadableNode(uid: uid, version: "3")
        let noUID = Self.unreadableNode(uid: "", version: "4")
        // A malformed status field, and neither a name nor a version.
        var noStatus = ProtobufWriter()
        noStatus.append(1) { $0.append(5, uid) }
        noStatus.append(3, [0xff])
        let watch = try DecodedWatch(
            .nodes,
            [noLabel, noUID, noStatus.bytes].flatMap { ObjectEncoder.event("DELETED", of: Node.self, message: $0) })
        #expect(
            watch.events == [
                .deleted(Node(uid: ObjectUID(uid), name: "node-b", addresses: []), resourceVersion: "3"),
                .deleted(Node(name: "node-b", addresses: []), resourceVersion: "4"),
                .deleted(Node(uid: ObjectUID(uid), name: "", addresses: []), resourceVersion: ""),
            ])
        #expect(watch.malformedObjects == 0)
    }

    @Test("a deletion of a malformed object is decoded for every resource")
    func whatIsGoneIsDeletedOfEveryKind() throws {
        let uid = ObjectUID("7d9b2f0e-1111-4222-8333-944455556666")
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.append(1, [0xc3, 0x28])
            metadata.append(3, "shop")
            metadata.append(5, uid.text)
            metadata.append(6, "3")
        }
        func deleted<Object: EncodableObject & Equatable>(
            _ resource: KubernetesResource<Object>
        ) throws -> [WatchEvent<Object>] {
            try DecodedWatch(resource, ObjectEncoder.event("DELETED", of: Object.self, message: message.bytes)).events
        }
        #expect(
            try deleted(.capturedPods) == [
                .deleted(
                    Pod(uid: uid, namespace: "shop", name: "", node: "", addresses: []), resourceVersion: "3")
            ])
        #expect(
            try deleted(.services) == [
                .deleted(
                    ClusterService(uid: uid, namespace: "shop", name: "", clusterAddresses: []),
                    resourceVersion: "3")
            ])
        #expect(try deleted(.replicaSets) == [.deleted(ReplicaSet(uid: uid), resourceVersion: "3")])
    }

    @Test("a deletion without an identity is counted as malformed") func whatIsGoneWithoutATraceIsCounted() throws {
        var nameless = ProtobufWriter()
        nameless.append(1) { $0.append(6, "3") }
        for message in [nameless.bytes, [0xff]] {
            let watch = try DecodedWatch(.nodes, ObjectEncoder.event("DELETED", of: Node.self, message: message))
            #expect(watch.events == [])
            #expect(watch.malformedObjects == 1)
        }
        // A ReplicaSet is identified only by its UID.
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.append(1, "web")
            metadata.append(6, "3")
        }
        let watch = try DecodedWatch(
            .replicaSets, ObjectEncoder.event("DELETED", of: ReplicaSet.self, message: message.bytes))
        #expect(watch.events == [])
        #expect(watch.malformedObjects == 1)
    }

    @Test("an event without a version is malformed") func anEventWithoutAVersionIsMalformed() throws {
        let node = Node(name: "a", addresses: [])
        let watch = try DecodedWatch(.nodes, ObjectEncoder.event("ADDED", node, resourceVersion: ""))
        #expect(watch.events == [])
        #expect(watch.lastMalformedObject?.problem == .missing(field: "metadata.resourceVersion"))
    }

    @Test("an object of a watch above the size limit is skipped and counted")
    func anObjectThatIsTooLongIsPassedOverAndCounted() throws {
        let node = Node(name: "a", addresses: [])
        let tooLong = ObjectEncoder.event(
            "ADDED", node, resourceVersion: "1", padding: KubernetesLimits.objectLength + 1)
        let watch = try DecodedWatch(
            .nodes, tooLong + ObjectEncoder.event("ADDED", node, resourceVersion: "2"))
        #expect(watch.events == [.updated(node, resourceVersion: "2")])
        #expect(watch.malformedObjects == 1)
    }

    @Test(
        "a malformed frame ends the watch",
        arguments: [
            // HTML, as sent by a proxy.
            Array("<html><body>".utf8),
            // A frame longer than the limit.
            [0x01, 0x00, 0x00, 0x01],
            // A frame whose content is not a message.
            [0, 0, 0, 2, 0xff, 0xff],
            // An event without an object.
            [0, 0, 0, 7, 0x0a, 0x05, 0x41, 0x44, 0x44, 0x45, 0x44],
            // An object without the magic.
            [0, 0, 0, 15, 0x0a, 0x05, 0x41, 0x44, 0x44, 0x45, 0x44, 0x12, 0x06, 0x0a, 0x04, 0x6b, 0x38, 0x73, 0x01],
        ] as [[UInt8]])
    func aMalformedFrameEndsTheWatch(_ body: [UInt8]) {
        #expect(throws: KubernetesDecodingError.self) { try DecodedWatch(.nodes, body) }
    }

    @Test("a bookmark without a version ends the watch") func aBookmarkWithoutAVersionEndsTheWatch() {
        #expect(throws: KubernetesDecodingError.self) {
            try DecodedWatch(.nodes, ObjectEncoder.bookmark(of: Node.self, resourceVersion: ""))
        }
    }
}
