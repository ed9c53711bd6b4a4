// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A block of public addresses whose owner is known.
public struct CloudRange: Hashable, Sendable {
    /// The block.
    public var prefix: IPPrefix
    /// What its addresses belong to.
    public var place: CloudPlace

    /// Makes a range of its parts.
    public init(prefix: IPPrefix, place: CloudPlace) {
        self.prefix = prefix
        self.place = place
    }
}

/// Where in a cloud an address is: what the columns `remoteCloud`, `remoteRegion` and `remoteCloudService` say, in lower
/// case and without blanks, and `remoteAvailabilityZone`.
public struct CloudPlace: Hashable, Sendable {
    /// The cloud, such as `aws`.
    public var cloud: String
    /// The region, such as `eu-central-1`; `global` for an address that every region answers; empty if unknown.
    public var region: String
    /// The availability zone, spelled as the nodes' zones are; empty if unknown, as in all lists of the providers.
    public var availabilityZone: String
    /// The service, such as `s3`; empty if unknown.
    public var service: String

    /// Makes a place of its parts.
    public init(cloud: String, region: String = "", availabilityZone: String = "", service: String = "") {
        self.cloud = cloud
        self.region = region
        self.availabilityZone = availabilityZone
        self.service = service
    }

    /// The region of addresses that every region answers.
    public static let globalRegion = "global"
}
