// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import FlowModel

/// What is known of public addresses by the blocks that they are in.
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
    private let prefixes: [IPPrefix]
    /// The blocks within private networks: those that somebody has named.
    private let privateTable: PrefixTable<Int32>

    init(_ ranges: [CloudRange], site: Site, scopes: PrefixTable<AddressScope>) {
        var labels: [EndpointLabels] = []
        var places: [Place] = []
        var numbers: [CloudPlace: Int32] = [:]
        var entries: [(prefix: IPPrefix, value: Int32)] = []
        entries.reserveCapacity(ranges.count)
        for range in ranges {
            let place = range.place
            let number = numbers[place] ?? Int32(places.count)
            if number == places.count {
                let known = EndpointLabels(cloud: place.cloud, region: place.region, cloudService: place.service)
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
        prefixes = ranges.map(\.prefix)
        table = PrefixTable(entries)
        privateTable = PrefixTable(
            entries.filter { entry in
                [entry.prefix.network, entry.prefix.last].allSatisfy { scopes.value(for: $0) == .private }
            })
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

    /// The smallest block with an address, nil where there is none.
    func prefix(of address: IPAddress) -> IPPrefix? {
        let index = table.index(for: address)
        return index >= 0 ? prefixes[Int(index)] : nil
    }

    private static func connectionClass(to place: CloudPlace, from site: Site) -> ConnectionClass {
        guard place.cloud == site.cloud else { return .publicInternet }
        return switch place.region {
        case "": .unknown
        // Anycast addresses: the nearest place answers.
        case "global", site.region: .intraRegion
        default: .interRegion
        }
    }
}
