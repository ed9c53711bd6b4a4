// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import FlowModel

/// What is known of public addresses by the blocks that they are in.
final class RangeTable: Sendable {
    /// What a block's addresses have in common.
    struct Range: Sendable {
        let labels: LabelsReference
        let connectionClass: ConnectionClass
    }

    private let labels: [EndpointLabels]
    private let table: PrefixTable<Range>

    init(_ ranges: [CloudRange], site: Site) {
        var known: [CloudPlace: (labels: EndpointLabels, range: Range)] = [:]
        let entries = ranges.map { range in
            let place = range.place
            if let (_, known) = known[place] { return (prefix: range.prefix, value: known) }
            let labels = EndpointLabels(cloud: place.cloud, region: place.region, cloudService: place.service)
            let value = Range(
                labels: LabelsReference(labels), connectionClass: Self.connectionClass(to: place, from: site))
            known[place] = (labels, value)
            return (prefix: range.prefix, value: value)
        }
        labels = known.values.map(\.labels)
        table = PrefixTable(entries)
    }

    /// The smallest block with an address, nil where there is none. Good as long as the table.
    func range(of address: IPAddress) -> Range? { table.value(for: address) }

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
