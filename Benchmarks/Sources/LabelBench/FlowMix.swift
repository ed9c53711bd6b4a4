// SPDX-License-Identifier: Apache-2.0

import FlowModel
import SyntheticCluster

/// Flows as agents report them: of ten, six are between pods, one of them through a load balancer's address; three are
/// from pods to clouds' addresses; one is to an address in no list. The order is random, so that caches cannot predict
/// it.
struct FlowMix {
    private let model: SyntheticCluster
    private let publicAddresses: [IPAddress]

    init(_ model: SyntheticCluster, publicAddresses: [IPAddress]) {
        self.model = model
        self.publicAddresses = publicAddresses
    }

    /// Makes flows.
    ///
    /// - Parameter node: The number of the node whose pods are at one end of every flow; nil for pods of all nodes.
    func flows(_ count: Int, ofNode node: Int? = nil, seed: UInt64 = 1) -> [CompactFlow] {
        var generator = SeededGenerator(seed: seed)
        // 203.0.113.0/24 stands for addresses in no list (RFC 5737).
        let unlisted = (0..<256).map { IPAddress(v4: 0xcb00_7100 + UInt32($0)) }
        return (0..<count).map { _ in
            var localNumber = Int.random(in: 0..<model.podCount, using: &generator)
            if let node { localNumber += node - localNumber % model.nodeCount }
            let peer: IPAddress
            var dialled: IPAddress?
            let kind = Int.random(in: 0..<10, using: &generator)
            switch kind {
            case 0..<6:
                peer = model.pod(Int.random(in: 0..<model.podCount, using: &generator)).addresses[0]
                if kind == 0 {
                    let service = Int.random(in: 0..<model.serviceCount, using: &generator) / 10 * 10
                    dialled = model.externalAddress(ofService: service)
                }
            case 6..<9 where !publicAddresses.isEmpty:
                peer = publicAddresses[Int.random(in: 0..<publicAddresses.count, using: &generator)]
            default:
                peer = unlisted[Int.random(in: 0..<256, using: &generator)]
            }
            return CompactFlow(
                peer: peer, local: model.pod(localNumber % model.podCount).addresses[0].v4 ?? 0,
                dialled: dialled?.v4 ?? 0, port: UInt16.random(in: 32_768...60_999, using: &generator))
        }
    }
}

/// A flow in a few bytes, so that many of them leave the caches to the code being measured, as flows just received do.
struct CompactFlow {
    let peer: IPAddress
    let local: UInt32
    /// The dialled address if it is not the peer's, else 0.
    let dialled: UInt32
    let port: UInt16

    /// The flow with all of its fields.
    var flow: Flow {
        let direct = FlowTuple(
            source: IPAddress(v4: local), destination: peer, sourcePort: port, destinationPort: 443)
        var original = direct
        if dialled != 0 { original.destination = IPAddress(v4: dialled) }
        return Flow(
            transport: .tcp, original: original, reply: direct.mirrored,
            originalCounters: FlowCounters(packets: 10, bytes: 1_000),
            replyCounters: FlowCounters(packets: 12, bytes: 9_000))
    }
}
