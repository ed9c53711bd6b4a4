// SPDX-License-Identifier: Apache-2.0

internal import ClusterModel
internal import FlowModel

/// The format of ServiceTags_Public: <https://learn.microsoft.com/azure/virtual-network/service-tags-overview>
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

/// The service and region that a service tag gives its prefixes.
private struct AzureTag {
    /// How specific the tag's service is; among the tags of a prefix, the highest rank wins.
    enum Rank: Comparable {
        case unnamed
        case named
        case storage
    }

    let service: String
    let rank: Rank
    /// The tag's region; empty for a tag without one.
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
    /// Reads ServiceTags_Public, which lists a prefix once for every tag that holds it: for its service with and
    /// without a region, for `AzureCloud` with and without a region.
    ///
    /// A prefix gets the service of the tag with the highest rank, or of the first one listed among equals. Its region
    /// is that of the highest-ranking tag that has one, else of the smallest enclosing prefix that has one, else
    /// `global`.
    static func azure(_ json: [UInt8]) throws(RangeListError) -> Contents {
        var mentions: [ListedPrefix] = []
        var tags: [AzureTag] = []
        var skipped = 0
        do {
            // The document is released before the rest begins, because it takes the larger part of the memory.
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
