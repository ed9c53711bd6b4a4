// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Glibc
import KubernetesAPI
import KubernetesTestKit
import TestSupport
import Testing

/// Mutated bytes must neither be read beyond their end nor crash the process: 16,000 mutations. `make fuzz` feeds these
/// decoders far more.
@Suite struct DecoderMutationTests {
    @Test(
        "mutated lists are decoded or rejected without a crash",
        arguments: ["nodes.list.pb", "services.list.pb", "replicasets.partial-list.pb"])
    func mutatedLists(_ name: String) throws {
        let body = try Capture.bytes(name)
        try forEachMutation(of: body, count: 1_000, seed: 1) { bytes, chunkLength in
            switch name {
            case "nodes.list.pb": feed(.nodes, bytes, chunkLength)
            case "services.list.pb": feed(.services, bytes, chunkLength)
            default: feed(.replicaSets, bytes, chunkLength)
            }
        }
    }

    @Test("mutated lists of pods are decoded or rejected without a crash") func mutatedPods() throws {
        let pod = Pod(
            namespace: "shop", name: "web-1", node: "node-a", addresses: [.init(v4: 7), .init(bits: 9)],
            columnLabels: [.app: "web"],
            owner: ObjectOwner(kind: "ReplicaSet", name: "web", uid: ObjectUID("web")), labels: ["a": "b"])
        let body = ObjectEncoder.list([pod, pod], metadata: ListMetadata(resourceVersion: "1", continueToken: "x"))
        try forEachMutation(of: body, count: 4_000, seed: 2) { feed(.capturedPods, $0, $1) }
    }

    @Test("mutated annotations are decoded or rejected without a crash") func mutatedAnnotations() throws {
        let metadata = ListMetadata(resourceVersion: "1")
        let pod = Pod(
            namespace: "shop", name: "web-1", node: "node-a", addresses: [.init(v4: 7)],
            secondaryAddresses: [.init(v4: 8), .init(bits: 9)], hostAddresses: [.init(v4: 10)])
        let pods = ObjectEncoder.list(
            [pod], metadata: metadata,
            annotations: [
                "k8s.ovn.org/pod-networks":
                    #"{"default":{"ip_addresses":["10.0.0.9/23"],"routes":[{"dest":"10.0.0.0/8"}]}}"#,
                "cni.projectcalico.org/podIPs": "10.0.0.7/32,fd00::7/128",
            ])
        try forEachMutation(of: pods, count: 2_000, seed: 5) { feed(.capturedPods, $0, $1) }
        let node = Node(name: "a", addresses: [.init(v4: 1)], podNetworks: [])
        let nodes = ObjectEncoder.list(
            [node], metadata: metadata,
            annotations: [
                "k8s.ovn.org/l3-gateway-config":
                    #"{"default":{"ip-addresses":["172.18.0.3/16"],"next-hops":["172.18.0.1"]}}"#,
                "k8s.ovn.org/node-subnets": #"{"default":["10.244.2.0/24"]}"#,
            ])
        try forEachMutation(of: nodes, count: 2_000, seed: 6) { feed(.nodes, $0, $1) }
    }

    @Test("mutated lists of services are decoded or rejected without a crash") func mutatedServices() throws {
        let service = ClusterService(
            namespace: "shop", name: "web", clusterAddresses: [.init(v4: 7)],
            externalAddresses: [.init(v4: 8), .init(bits: 9)],
            ports: [.init(transport: .tcp, number: 443, nodePort: 30443)], selector: ["app": "web"])
        let body = ObjectEncoder.list([service], metadata: ListMetadata(resourceVersion: "1"))
        try forEachMutation(of: body, count: 2_000, seed: 7) { feed(.services, $0, $1) }
    }

    @Test("mutated watches are decoded or rejected without a crash") func mutatedWatches() throws {
        let body = try Capture.bytes("pods.watch.pb")
        let event = Array(body.prefix(2159))
        let bookmark = Array(body.suffix(111))
        let failure = try Capture.bytes("pods.watch-expired.pb")
        try forEachMutation(of: bookmark + event + bookmark, count: 2_000, seed: 3) {
            watch(.capturedPods, $0, $1)
        }
        try forEachMutation(of: failure + bookmark, count: 1_000, seed: 4) { watch(.capturedPods, $0, $1) }
    }

    private func feed<Object>(_ resource: KubernetesResource<Object>, _ bytes: UnsafeRawBufferPointer, _ length: Int) {
        var decoder = ListDecoder(resource)
        var objects = 0
        try? forEachChunk(bytes, length) { try decoder.feed($0) { _ in objects += 1 } }
        _ = try? decoder.finish()
        #expect(objects + decoder.malformedObjects <= bytes.count / 2)
    }

    private func watch<Object>(_ resource: KubernetesResource<Object>, _ bytes: UnsafeRawBufferPointer, _ length: Int) {
        var decoder = WatchDecoder(resource)
        var events = 0
        try? forEachChunk(bytes, length) { try decoder.feed($0) { _ in events += 1 } }
        #expect(events + decoder.malformedObjects <= bytes.count / 4)
    }

    private func forEachChunk(
        _ bytes: UnsafeRawBufferPointer, _ length: Int, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) rethrows {
        var rest = bytes[...]
        while !rest.isEmpty {
            try body(UnsafeRawBufferPointer(rebasing: rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
    }

    /// Calls `body` with mutations of the bytes, placed at the end of a readable page before an unreadable one, and
    /// with a length of chunks.
    private func forEachMutation(
        of bytes: [UInt8], count: Int, seed: UInt64, _ body: (UnsafeRawBufferPointer, Int) -> Void
    ) throws {
        let pageSize = Int(getpagesize())
        let readable = (bytes.count / pageSize + 2) * pageSize
        let pages = try #require(
            mmap(nil, readable + pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        try #require(pages != MAP_FAILED && mprotect(pages + readable, pageSize, PROT_NONE) == 0)
        defer { munmap(pages, readable + pageSize) }
        var random = SeededGenerator(seed: seed)
        for _ in 0..<count {
            let mutation = mutate(bytes, &random)
            let copy = UnsafeMutableRawBufferPointer(
                start: pages + readable - mutation.count, count: mutation.count)
            copy.copyBytes(from: mutation)
            body(UnsafeRawBufferPointer(copy), Bool.random(using: &random) ? mutation.count + 1 : 977)
        }
    }

    private func mutate(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            let end = min(bytes.count, index + Int.random(in: 1...16, using: &random))
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 2: bytes[index] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
            case 3: bytes.removeSubrange(index..<end)
            case 4: bytes.insert(contentsOf: bytes[index..<end], at: index)
            default: bytes.removeSubrange(index...)
            }
        }
        return bytes
    }
}
