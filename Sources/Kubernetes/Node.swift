// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A machine of the cluster.
public struct Node: Hashable, Sendable {
    /// The name that pods refer to it by, unique in the cluster.
    public var name: String
    /// The machine's own addresses, those of its pods not included.
    public var addresses: [IPAddress]
    /// The availability zone, such as `eu-central-1a`; empty if unknown.
    public var zone: String

    /// Makes a node of its parts.
    public init(name: String, addresses: [IPAddress], zone: String = "") {
        self.name = name
        self.addresses = addresses
        self.zone = zone
    }
}
