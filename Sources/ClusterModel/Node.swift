// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A machine of the cluster.
public struct Node: Hashable, Sendable {
    /// What tells it apart from an earlier node of the same name.
    public var uid: ObjectUID
    /// The name that pods refer to it by, unique in the cluster.
    public var name: String
    /// The machine's own addresses, inside (`InternalIP`), outside (`ExternalIP`) and those of its bridges and tunnels as far
    /// as annotations tell them, those of its pods not included.
    public var addresses: [IPAddress]
    /// The blocks that its pods get their addresses from (`spec.podCIDRs`, or an annotation of the network's).
    public var podNetworks: [IPPrefix]
    /// The availability zone, such as `eu-central-1a`; empty if unknown.
    public var zone: String
    /// When it joined the cluster (`metadata.creationTimestamp`), in seconds since the Unix epoch; 0 if unknown.
    public var createdAt: UInt32

    /// Makes a node of its parts; without a `uid`, the name tells it apart.
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
