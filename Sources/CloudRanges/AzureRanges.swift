// SPDX-License-Identifier: Apache-2.0

internal import ClusterModel
internal import FlowModel

/// <https://learn.microsoft.com/azure/virtual-network/service-tags-overview>
private struct AzureDocument: Decodable {
    struct Tag: Decodable {
        struct Properties: Decodable {
            let region: String?
            let systemService: String?
            let addressPrefixes: [LenientEntry<PrefixText>]
        }

        let name: String
        let properties: Properties
    }

    let values: [LenientEntry<Tag>]
}

/// What a service tag says about its prefixes.
private struct AzureTag {
    /// How much its service tells; the highest counts.
    enum Rank: Comparable {
        case unnamed
        case named
        case storage
    }

    let service: String
    let rank: Rank
    /// Empty where the tag is of no region.
    let region: String

    init(_ tag: AzureDocument.Tag) {
        let systemService = (tag.properties.systemService ?? "").asLabel
        switch systemService {
        case "":
            service = tag.name.asLabel.contains("azurecloud") ? "azurecloud" : "azureservice"
            rank = .unnamed
        case "azurestorage":
            service = systemService
            rank = .storage
        default:
            service = systemService
            rank = .named
        }
        let region = (tag.properties.region ?? "").asLabel
        self.region = region == CloudPlace.globalRegion ? "" : region
    }
}

extension RangeList {
    /// Reads ServiceTags_Public. It lists a prefix once for every tag that it is in: for its service with and without a
    /// region, for `AzureCloud` with and without a region.
    ///
    /// The service is that of the highest rank, of several the one listed first. The region is that of whichever tag has
    /// one, else of the smallest prefix around it that has one, else `global`.
    static func azure(_ json: [UInt8]) throws(RangeListError) -> Contents {
        var mentions: [ListedPrefix] = []
        var tags: [AzureTag] = []
        var skipped = 0
        do {
            // The document goes before the rest begins: it is the larger part.
            let document = try decode(
                AzureDocument.self, json,
                expected: "Azure ServiceTags: an object with the array `values` of `name` and `properties`")
            for tag in document.values {
                guard let tag = tag.value else {
                    skipped += 1
                    continue
                }
                for prefix in tag.properties.addressPrefixes {
                    if let prefix = prefix.value?.prefix {
                        mentions.append(prefix, label: Int32(tags.count))
                    } else {
                        skipped += 1
                    }
                }
                tags.append(AzureTag(tag))
            }
        }
        mentions.sort()
        var places = PlaceTable()
        var prefixes: [ListedPrefix] = []
        var around: [(prefix: IPPrefix, region: String)] = []
        mentions.forEachPrefix { mentions in
            let first = mentions[mentions.startIndex]
            var service = tags[Int(first.label)]
            var regional = service
            for mention in mentions.dropFirst() {
                let tag = tags[Int(mention.label)]
                if tag.rank > service.rank { service = tag }
                if !tag.region.isEmpty, regional.region.isEmpty || tag.rank > regional.rank { regional = tag }
            }
            while let outer = around.last, !outer.prefix.contains(first.prefix.network) { around.removeLast() }
            let region = regional.region.isEmpty ? around.last?.region ?? "" : regional.region
            around.append((first.prefix, region))
            let place = CloudPlace(
                cloud: RangeProvider.azure.cloud, region: region.isEmpty ? CloudPlace.globalRegion : region,
                service: service.service)
            prefixes.append(ListedPrefix(prefix: first.prefix, order: first.order, label: places.number(of: place)))
        }
        return Contents(places: places.places, prefixes: prefixes, skipped: skipped)
    }
}
