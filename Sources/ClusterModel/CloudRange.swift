// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A block of public addresses whose owner is known.
public struct CloudRange: Hashable, Sendable {
    /// The block.
    public var prefix: IPPrefix
    /// The cloud, region and service that its addresses belong to.
    public var place: CloudPlace

    /// Makes a range from its parts.
    public init(prefix: IPPrefix, place: CloudPlace) {
        self.prefix = prefix
        self.place = place
    }
}

/// An address's place in a cloud: the values of the columns `remoteCloud`, `remoteRegion` and `remoteCloudService`, in
/// lower case and without blanks, and of `remoteAvailabilityZone`.
public struct CloudPlace: Hashable, Sendable {
    /// The cloud, such as `aws`.
    public var cloud: String
    /// The region, such as `eu-central-1`; `global` for an address that is served from every region; empty if unknown.
    public var region: String
    /// The availability zone, in the spelling of the nodes' zones; empty if unknown, as it is in all of the providers'
    /// lists.
    public var availabilityZone: String
    /// The service, such as `s3`; empty if unknown.
    public var service: String

    /// Makes a place from its parts.
    public init(cloud: String, region: String = "", availabilityZone: String = "", service: String = "") {
        self.cloud = cloud
        self.region = region
        self.availabilityZone = availabilityZone
        self.service = service
    }

    /// The region of addresses that are served from every region.
    public static let globalRegion = "global"
}
