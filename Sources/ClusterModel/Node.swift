// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A machine of the cluster.
public struct Node: Hashable, Sendable {
    /// The node's identity, distinct from that of an earlier node of the same name.
    public var uid: ObjectUID
    /// The name by which pods refer to the node, unique in the cluster.
    public var name: String
    /// The machine's own addresses: internal (`InternalIP`), external (`ExternalIP`) and, where annotations give them,
    /// those of its bridges and tunnels; without the addresses of its pods.
    public var addresses: [IPAddress]
    /// The blocks of its pods' addresses (`spec.podCIDRs`, or an annotation of the network plugin).
    public var podNetworks: [IPPrefix]
    /// The availability zone, such as `eu-central-1a`; empty if unknown.
    public var zone: String
    /// The time at which it joined the cluster (`metadata.creationTimestamp`), in seconds since the Unix epoch; 0 if
    /// unknown.
    public var createdAt: UInt32

    /// Makes a node from its parts; without a `uid`, the name identifies it.
    public init(
        uid: ObjectUID? = nil, name: String, addresses: [IPAddress], podNetworks: [IPPrefix] = [], zone: String = "",
        createdAt: UInt32 = 0
    ) {
        self.uid = uid ?? ObjectUID(name)
        self.name = name
        self.addresses = addresses
        self.podNetworks = podNetworks
        self.zone = zone
        self.createdAt = createdAt
    }
}
