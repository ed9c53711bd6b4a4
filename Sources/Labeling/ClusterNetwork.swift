// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The nodes behind addresses that mean something only within one cluster, because every cluster may have the same: the
/// nodes' pod blocks, and the addresses of their bridges and tunnels.
struct ClusterNetwork: Sendable {
    /// The nodes' blocks of pod addresses.
    var podNetworks = PodNetworks()
    /// The addresses that nodes' agents have reported.
    var hostAddresses = HostAddresses()
    /// The time range in which the owners of pod addresses are known, in seconds since the Unix epoch; nil before the
    /// first list.
    private var podsKnown: ClosedRange<UInt32>?

    /// Returns the node whose pod block contains an address that no pod and no Node object has, if the address can only
    /// be the host's own: the node's agent has reported it, or the agent has reported nothing and all pods were known
    /// at that moment.
    @inline(__always)
    func blockOwner(of address: IPAddress, second: UInt32) -> Int32? {
        guard let owner = podNetworks.node(of: address) else { return nil }
        let isMeant =
            hostAddresses.areTold(ofNode: owner)
            ? hostAddresses.isOwn(address, ofNode: owner) : podsKnown?.contains(second) ?? false
        return isMeant ? owner : nil
    }

    /// Records that all pods are known at a moment, and for 90 seconds after it: a watch reports something every
    /// minute.
    mutating func hearOfPods(at second: UInt32) {
        let end = max(second, second &+ ClusterIndex.secondsBetweenSigns)
        podsKnown = (podsKnown.flatMap { $0.contains(second) ? $0.lowerBound : nil } ?? second)...end
    }
}
