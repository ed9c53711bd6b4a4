// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Blocks of addresses outside the cluster whose owner is known.
public struct NamedRange: Hashable, Sendable {
    /// The name that problems refer to it by.
    public var name: String
    /// The blocks of addresses.
    public var prefixes: [IPPrefix]
    /// The cloud that the addresses belong to, in lower case and without blanks: `aws`.
    public var cloud: String
    /// The cloud's region, in lower case and without blanks: `eu-central-1`; empty if unknown.
    public var region: String
    /// The availability zone, spelled as the nodes' zones are: `eu-central-1a`; empty if unknown.
    public var availabilityZone: String
    /// The cloud's service that answers there, such as `s3`; empty if unknown.
    public var service: String

    /// Makes a range of its parts.
    public init(
        name: String, prefixes: [IPPrefix], cloud: String, region: String = "", availabilityZone: String = "",
        service: String = ""
    ) {
        self.name = name
        self.prefixes = prefixes
        self.cloud = cloud
        self.region = region
        self.availabilityZone = availabilityZone
        self.service = service
    }
}
