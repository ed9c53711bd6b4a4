// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import FlowModel

/// What is known of public addresses by the blocks that they are in.
final class RangeTable: Sendable {
    /// What a block's addresses have in common.
    struct Range: Sendable {
        let prefix: IPPrefix
        let labels: LabelsReference
        let connectionClass: ConnectionClass
    }

    private let labels: [EndpointLabels]
    private let table: PrefixTable<Range>

    init(_ ranges: [CloudRange], site: Site) {
        var labels: [CloudPlace: EndpointLabels] = [:]
        let entries = ranges.map { range in
            let place = range.place
            let known =
                labels[place]
                ?? EndpointLabels(cloud: place.cloud, region: place.region, cloudService: place.service)
            labels[place] = known
            let value = Range(
                prefix: range.prefix, labels: LabelsReference(known),
                connectionClass: Self.connectionClass(to: place, from: site))
            return (prefix: range.prefix, value: value)
        }
        self.labels = Array(labels.values)
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
