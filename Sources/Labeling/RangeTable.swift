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
                let known = EndpointLabels(
                    cloud: place.cloud, region: place.region, availabilityZone: place.availabilityZone,
                    cloudService: place.service)
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
        (scopes, privateTable) = Self.tables(entries, privateNetworks, cloud)
    }

    private init(_ other: RangeTable, privateNetworks: [IPPrefix]) {
        (labels, places, entries, table) = (other.labels, other.places, other.entries, other.table)
        self.privateNetworks = privateNetworks
        cloud = other.cloud
        (scopes, privateTable) = Self.tables(entries, privateNetworks, cloud)
    }

    /// Returns the same blocks with other private networks.
    func with(privateNetworks: [IPPrefix]) -> RangeTable {
        privateNetworks == self.privateNetworks ? self : RangeTable(self, privateNetworks: privateNetworks)
    }

    private static func tables(
        _ entries: [(prefix: IPPrefix, value: Int32)], _ privateNetworks: [IPPrefix], _ cloud: String
    ) -> (PrefixTable<AddressScope>, PrefixTable<Int32>) {
        let scopes = PrefixTable.addressScopes(adding: privateNetworks, in: cloud)
        let within = entries.filter { entry in
            [entry.prefix.network, entry.prefix.last].allSatisfy { scopes.value(for: $0) == .private }
        }
        return (scopes, PrefixTable(within))
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

    /// Returns the smallest block that contains an address; nil if there is none.
    func prefix(of address: IPAddress) -> IPPrefix? {
        let index = table.index(for: address)
        return index >= 0 ? entries[Int(index)].prefix : nil
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
