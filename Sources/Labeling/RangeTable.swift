// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel

/// The labels of addresses outside the cluster, by the blocks that contain them.
final class RangeTable: Sendable {
    /// The values that the addresses of many blocks share.
    struct Place: Sendable {
        let labels: LabelsReference
        let connectionClass: ConnectionClass
    }

    private let labels: [EndpointLabels]
    /// Unlike the blocks, few and small enough to stay in a cache.
    private let places: [Place]
    /// The index of each block's place in `places`.
    private let table: PrefixTable<Int32>
    private let entries: [(prefix: IPPrefix, value: Int32)]
    /// The networks that count as private besides RFC 1918, link-local and loopback.
    let privateNetworks: [IPPrefix]
    let scopes: PrefixTable<AddressScope>
    /// The blocks inside private networks, which come from configured ranges.
    private let privateTable: PrefixTable<Int32>
    private let privateEntries: [(prefix: IPPrefix, value: Int32)]
    private let cloud: String

    init(_ ranges: [CloudRange], site: Site, privateNetworks: [IPPrefix]) {
        var labels: [EndpointLabels] = []
        var places: [Place] = []
        var numbers: [CloudPlace: Int32] = [:]
        var entries: [(prefix: IPPrefix, value: Int32)] = []
        entries.reserveCapacity(ranges.count + WellKnownPlaces.ranges.count)
        for range in [WellKnownPlaces.ranges, ranges].joined() {
            let place = range.place
            let number = numbers[place] ?? Int32(places.count)
            if number == places.count {
                let known = EndpointLabels([
                    .cloud: place.cloud, .region: place.region, .availabilityZone: place.availabilityZone,
                    .cloudService: place.service,
                ])
                labels.append(known)
                places.append(
                    Place(
                        labels: LabelsReference(known), connectionClass: Self.connectionClass(to: place, from: site)))
                numbers[place] = number
            }
            entries.append((prefix: range.prefix, value: number))
        }
        self.labels = labels
        self.places = places
        self.entries = entries
        self.privateNetworks = privateNetworks
        cloud = site.cloud
        table = PrefixTable(entries)
        scopes = .addressScopes(adding: privateNetworks, in: cloud)
        privateEntries = Self.entries(entries, inPrivateNetworksOf: scopes)
        privateTable = PrefixTable(privateEntries)
    }

    private init(_ other: RangeTable, privateNetworks: [IPPrefix]) {
        (labels, places, entries, table) = (other.labels, other.places, other.entries, other.table)
        self.privateNetworks = privateNetworks
        cloud = other.cloud
        scopes = .addressScopes(adding: privateNetworks, in: cloud)
        privateEntries = Self.entries(entries, inPrivateNetworksOf: scopes)
        privateTable = PrefixTable(privateEntries)
    }

    /// Returns the same blocks with other private networks.
    func with(privateNetworks: [IPPrefix]) -> RangeTable {
        privateNetworks == self.privateNetworks ? self : RangeTable(self, privateNetworks: privateNetworks)
    }

    private static func entries(
        _ entries: [(prefix: IPPrefix, value: Int32)], inPrivateNetworksOf scopes: PrefixTable<AddressScope>
    ) -> [(prefix: IPPrefix, value: Int32)] {
        entries.filter { entry in
            [entry.prefix.network, entry.prefix.last].allSatisfy { scopes.value(for: $0) == .private }
        }
    }

    /// Returns the place of the smallest block that contains an address; nil if there is none. Valid as long as the
    /// table.
    func place(of address: IPAddress) -> Place? {
        guard let number = table.value(for: address) else { return nil }
        return places[Int(number)]
    }

    /// Returns the place of the smallest block inside private networks that contains a private address; nil if there is
    /// none.
    func privatePlace(of address: IPAddress) -> Place? {
        guard let number = privateTable.value(for: address) else { return nil }
        return places[Int(number)]
    }

    /// Returns the smallest special network that contains an address, with its scope; nil for an ordinary address.
    func network(of address: IPAddress) -> (prefix: IPPrefix, scope: AddressScope)? {
        let index = scopes.index(for: address)
        guard index >= 0 else { return nil }
        let block = AddressScope.blocks(adding: privateNetworks, in: cloud)[Int(index)]
        return (block.prefix, block.value)
    }

    /// Returns the block that decides the place of an address of this scope: that of ``privatePlace(of:)`` if the address
    /// is private, else that of ``place(of:)``; nil if there is none.
    func prefix(of address: IPAddress, in scope: AddressScope) -> IPPrefix? {
        let isPrivate = scope == .private
        let index = (isPrivate ? privateTable : table).index(for: address)
        return index >= 0 ? (isPrivate ? privateEntries : entries)[Int(index)].prefix : nil
    }

    private static func connectionClass(to place: CloudPlace, from site: Site) -> ConnectionClass {
        guard place.cloud == site.cloud,
            place.region.isEmpty || WellKnownPlaces.areInOnePartition(place.region, site.region, of: site.cloud)
        else { return .publicInternet }
        return switch place.region {
        case "": .unknown
        // Global addresses are anycast: the nearest location answers.
        case CloudPlace.globalRegion, site.region: .intraRegion
        default: .interRegion
        }
    }
}
