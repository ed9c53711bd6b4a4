// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import KubernetesAPI
import KubernetesTestKit
import TestSupport
import Testing

@Suite struct ListDecoderTests {
    @Test("pods decoded from protobuf equal those decoded from JSON") func podsAreWhatTheirJSONSays() throws {
        let list = try DecodedList(.capturedPods, Capture.bytes("pods.list.pb"))
        #expect(list.objects == (try Capture.list("pods.list.json").map { try $0.pod }))
        #expect(list.objects.count == 13)
        #expect(list.objects.count { $0.hostNetwork } == 7)
        #expect(list.metadata == ListMetadata(resourceVersion: "311"))
        #expect(list.malformedObjects == 0)
    }

    @Test("every field of a pod is decoded") func aPodIsReadInAllItsParts() throws {
        let list = try DecodedList(.capturedPods, Capture.bytes("pods.list.pb"))
        #expect(
            list.objects.first
                == Pod(
                    uid: ObjectUID("00569123-7930-4901-9903-3bfd9ec64545"), namespace: "ns-0",
                    name: "app-0000-dgbjc2d6g-2n2j7-2", node: "node-00002",
                    addresses: [IPAddress(v4: 0x0a01_0003)], hostAddresses: [IPAddress(v4: 0xac10_0003)],
                    startedAt: 1_795_245_099, columnLabels: [.app: "app-0000"],
                    owner: ObjectOwner(
                        kind: "ReplicaSet", name: "app-0000-dgbjc2d6g",
                        uid: ObjectUID("52db66c9-ebc7-5a59-9cb2-79320da6538e")),
                    labels: ["pod-template-hash": "dgbjc2d6g"],
                    labelSignature: LabelSignature([
                        "app.kubernetes.io/name": "app-0000", "app.kubernetes.io/part-of": "part-2",
                        "pod-template-hash": "dgbjc2d6g", "populate": "1", "topology.kubernetes.io/region": "test-1",
                        "topology.kubernetes.io/zone": "test-1c",
                    ])))
    }

    @Test("nodes decoded from protobuf equal those decoded from JSON") func nodesAreWhatTheirJSONSays() throws {
        let list = try DecodedList(.nodes, Capture.bytes("nodes.list.pb"))
        #expect(list.objects == (try Capture.list("nodes.list.json").map { try $0.node }))
        #expect(list.objects.map(\.zone) == ["test-1a", "test-1b", "test-1c"])
        #expect(list.metadata == ListMetadata(resourceVersion: "279"))
    }

    @Test("services decoded from protobuf equal those decoded from JSON") func servicesAreWhatTheirJSONSays() throws {
        let list = try DecodedList(.services, Capture.bytes("services.list.pb"))
        #expect(list.objects == (try Capture.list("services.list.json").map { try $0.service }))
        #expect(list.objects.map(\.name) == ["kubernetes", "app-0000", "app-0001"])
        #expect(list.metadata == ListMetadata(resourceVersion: "295"))
    }

    @Test("ReplicaSets decoded from protobuf equal those decoded from JSON")
    func replicaSetsAreWhatTheirJSONSays() throws {
        let list = try DecodedList(.replicaSets, Capture.bytes("replicasets.partial-list.pb"))
        #expect(list.objects == (try Capture.list("replicasets.partial-list.json").map { $0.replicaSet }))
        #expect(list.objects.first?.owner?.kind == "Deployment")
        #expect(list.objects.first?.owner?.name == "frontend")
        #expect(list.metadata == ListMetadata(resourceVersion: "311"))
    }

    @Test("a page has the token of the next page") func aPageTellsHowToGetTheNext() throws {
        let all = try DecodedList(.capturedPods, Capture.bytes("pods.list.pb")).objects
        let first = try DecodedList(.capturedPods, Capture.bytes("pods.page1.pb"))
        let second = try DecodedList(.capturedPods, Capture.bytes("pods.page2.pb"))
        #expect(first.objects + second.objects == Array(all.prefix(6)))
        #expect(first.metadata?.resourceVersion == "311")
        #expect(second.metadata?.resourceVersion == "311")
        #expect(first.metadata?.remainingItemCount == 10)
        #expect(second.metadata?.remainingItemCount == 7)
        let token = try #require(first.metadata?.continueToken)
        #expect(token.hasPrefix("eyJ2IjoibWV0YS5rOHMuaW8vdjEi"))
        #expect(token != second.metadata?.continueToken)
    }

    @Test("a list decoded from chunks of any length is the same", arguments: [1, 2, 3, 7, 1000, 16_384])
    func chunksOfAnyLengthGiveTheSame(_ length: Int) throws {
        let body = try Capture.bytes("pods.list.pb")
        #expect(
            try DecodedList(.capturedPods, body.chunks([length])) == DecodedList(.capturedPods, body))
    }

    @Test("a list decoded from two parts is the same wherever it is cut") func aListMayBeCutAnywhere() throws {
        let body = try Capture.bytes("nodes.list.pb")
        let whole = try DecodedList(.nodes, body)
        for position in 0...body.count {
            #expect(try DecodedList(.nodes, body.chunks([position, body.count])) == whole, "cut at \(position)")
        }
    }

    @Test("a list decoded from random chunks is the same") func randomChunksGiveTheSame() throws {
        let body = try Capture.bytes("pods.page1.pb")
        let whole = try DecodedList(.capturedPods, body)
        var random = SeededGenerator(seed: 1)
        for _ in 0..<200 {
            var (lengths, sum) = ([Int](), 0)
            while sum < body.count {
                lengths.append(Int.random(in: 0...Int.random(in: 1...3000), using: &random))
                sum += lengths[lengths.count - 1]
            }
            #expect(try DecodedList(.capturedPods, body.chunks(lengths)) == whole)
        }
    }

    @Test(
        "a truncated list is an error", arguments: ["nodes.list.pb", "services.list.pb", "replicasets.partial-list.pb"])
    func aListThatEndsTooEarlyIsNotTakenForWhole(_ name: String) throws {
        let body = try Capture.bytes(name)
        // The list is followed by two empty fields of its envelope, without which it is complete too.
        let endOfList = body.count - (body.suffix(4) == [0x1a, 0, 0x22, 0] ? 4 : 0)
        for length in 0..<endOfList {
            #expect(throws: KubernetesDecodingError.truncatedList, "\(length) bytes") {
                try DecodedList(.nodes, Array(body.prefix(length)))
            }
        }
    }

    @Test("an empty list is decoded") func anEmptyListIsAList() throws {
        let metadata = ListMetadata(resourceVersion: "7")
        let list = try DecodedList(.nodes, ObjectEncoder.list([Node](), metadata: metadata))
        #expect(list.objects.isEmpty)
        #expect(list.metadata == metadata)
    }

    @Test("fields may come in any order, with unknown fields between them")
    func fieldsMayComeInAnyOrderAndUnknownOnesBetweenThem() throws {
        let node = Node(name: "a", addresses: [])
        var list = ProtobufWriter()
        list.append(9, "unknown")
        list.append(2, node.message(resourceVersion: "1", padding: 0))
        list.append(10, 1 << 40)
        list.append(1) { $0.append(2, "42") }
        var envelope = ProtobufWriter()
        envelope.append(4, "")
        envelope.append(200, [UInt8](repeating: 0xff, count: 1000))
        envelope.append(2, list.bytes)
        envelope.append(1) { $0.append(1, "v1") }
        let fixed32: [UInt8] = [5 << 3 | 5, 1, 2, 3, 4]
        let fixed64: [UInt8] = [6 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8]
        let body = Array("k8s\0".utf8) + fixed32 + envelope.bytes + fixed64
        for length in [1, body.count] {
            let decoded = try DecodedList(.nodes, body.chunks([length]))
            #expect(decoded.objects == [node])
            #expect(decoded.metadata == ListMetadata(resourceVersion: "42"))
        }
    }

    @Test("a malformed object of a list is skipped and counted")
    func aMalformedObjectIsPassedOverAndCounted() throws {
        let good = [Node(name: "a", addresses: []), Node(name: "b", addresses: [])]
        var nameless = ProtobufWriter()
        nameless.append(1) { $0.append(5, "7d") }
        let messages = [
            good[0].message(resourceVersion: "1", padding: 0), [0xff, 0xff], nameless.bytes,
            good[1].message(resourceVersion: "1", padding: 0),
        ]
        let list = try DecodedList(
            .nodes,
            ObjectEncoder.list(of: Node.self, metadata: ListMetadata(resourceVersion: "1"), messages: messages))
        #expect(list.objects == good)
        #expect(list.malformedObjects == 2)
        #expect(
            list.lastMalformedObject
                == MalformedObject(resource: "nodes", problem: .missing(field: "metadata.name")))
    }

    @Test("an object of a list above the size limit is skipped and counted")
    func anObjectThatIsTooLongIsPassedOverAndCounted() throws {
        let node = Node(name: "a", addresses: [])
        let tooLong = [UInt8](repeating: 0, count: KubernetesLimits.objectLength + 1)
        let body = ObjectEncoder.list(
            of: Node.self, metadata: ListMetadata(resourceVersion: "1"),
            messages: [tooLong, node.message(resourceVersion: "1", padding: 0)])
        let list = try DecodedList(.nodes, body.chunks([10_000]))
        #expect(list.objects == [node])
        #expect(list.malformedObjects == 1)
        #expect(list.lastMalformedObject?.problem == .tooLong(KubernetesLimits.objectLength + 1))
    }

    @Test("an object that expands too much when decoded is skipped and counted")
    func anObjectThatSwellsIsPassedOverAndCounted() throws {
        // Each label of two bytes takes about a hundred bytes when unpacked.
        var swelling = ProtobufWriter()
        swelling.append(1, [UInt8](repetitionsOf: [11 << 3 | 2, 0], count: 1_500_000))
        let node = Node(name: "a", addresses: [])
        let list = try DecodedList(
            .nodes,
            ObjectEncoder.list(
                of: Node.self, metadata: ListMetadata(resourceVersion: "1"),
                messages: [swelling.bytes, node.message(resourceVersion: "1", padding: 0)]))
        #expect(list.objects == [node])
        #expect(list.lastMalformedObject?.problem == .notAMessage(swelling.bytes.count))
    }

    @Test("an object of 3 MiB is decoded") func aLongObjectIsRead() throws {
        let node = Node(name: "a", addresses: [IPAddress(v4: 1)])
        let list = try DecodedList(
            .nodes, ObjectEncoder.list([node], metadata: ListMetadata(resourceVersion: "1"), padding: 3 << 20))
        #expect(list.objects == [node])
    }

    @Test("the error about a body that is not protobuf shows its beginning")
    func whatIsNotProtobufIsToldByItsBeginning() {
        #expect(throws: KubernetesDecodingError.notKubernetesProtobuf(Array(#"{"kind":"PodList"#.utf8))) {
            try DecodedList(.nodes, Array(#"{"kind":"PodList","items":[]}"#.utf8))
        }
    }

    @Test(
        "a malformed list is rejected",
        arguments: [
            // The field number 0.
            [0x02, 0x00],
            // A group, a wire type that the API server never uses.
            [0x0b],
            // A number of eleven bytes.
            [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            // A list of nearly 2^64 bytes.
            [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            // An item of four bytes in a list of three.
            [0x12, 0x03, 0x12, 0x04, 0x00],
            // Metadata of 16 MiB.
            [0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0a, 0x80, 0x80, 0x80, 0x08],
            // Two lists, each with a resourceVersion of "7".
            [0x12, 0x05, 0x0a, 0x03, 0x12, 0x01, 0x37, 0x12, 0x05, 0x0a, 0x03, 0x12, 0x01, 0x37],
            // A list without a resourceVersion.
            [0x12, 0x00],
        ] as [[UInt8]])
    func aMalformedBodyIsRefused(_ envelope: [UInt8]) {
        let body = Array("k8s\0".utf8) + envelope
        #expect {
            try DecodedList(.nodes, body)
        } throws: { error in
            error as? KubernetesDecodingError != .truncatedList
        }
    }
}
