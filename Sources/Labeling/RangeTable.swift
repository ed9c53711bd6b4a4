// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel

/// What is known of addresses outside the cluster by the blocks that they are in.
final class RangeTable: Sendable {
    /// What the addresses of many blocks have in common.
    struct Place: Sendable {
        let labels: LabelsReference
        let connectionClass: ConnectionClass
    }

    private let labels: [EndpointLabels]
    /// Few and small enough to stay in a cache, other than the blocks.
    private let places: [Place]
    /// The number of each block's place.
    private let table: PrefixTable<Int32>
    private let entries: [(prefix: IPPrefix, value: Int32)]
    /// What counts as private besides RFC 1918, link-local and loopback.
    let privateNetworks: [IPPrefix]
    /// How far addresses reach.
    let scopes: PrefixTable<AddressScope>
    /// The blocks within private networks: those that somebody has named.
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

    /// The same blocks where other networks count as private.
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

    /// What is known of an address by the smallest block with it, nil where there is none. Good as long as the table.
    func place(of address: IPAddress) -> Place? {
        guard let number = table.value(for: address) else { return nil }
        return places[Int(number)]
    }

    /// What is known of a private address by the smallest block within private networks, nil where there is none.
    func privatePlace(of address: IPAddress) -> Place? {
        guard let number = privateTable.value(for: address) else { return nil }
        return places[Int(number)]
    }

    /// The smallest network with a special address and how far it reaches, nil for an ordinary address.
    func network(of address: IPAddress) -> (prefix: IPPrefix, scope: AddressScope)? {
        let index = scopes.index(for: address)
        guard index >= 0 else { return nil }
        let block = AddressScope.blocks(adding: privateNetworks, in: cloud)[Int(index)]
        return (block.prefix, block.value)
    }

    /// The smallest block with an address, nil where there is none.
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
        // Anycast addresses: the nearest place answers.
        case CloudPlace.globalRegion, site.region: .intraRegion
        default: .interRegion
        }
    }
}
