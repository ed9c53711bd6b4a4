// SPDX-License-Identifier: Apache-2.0

internal import ClusterModel
internal import FlowModel

/// The format of both of Google's lists: <https://support.google.com/a/answer/10026322>
private struct GoogleDocument: Decodable {
    struct Entry: Decodable {
        let prefix: IPPrefix
        let service: String?
        let scope: String?

        enum CodingKeys: String, CodingKey {
            case ipv4Prefix
            case ipv6Prefix
            case service
            case scope
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            prefix =
                try
                (container.decodeIfPresent(PrefixText.self, forKey: .ipv4Prefix)
                ?? container.decode(PrefixText.self, forKey: .ipv6Prefix)).prefix
            service = try container.decodeIfPresent(String.self, forKey: .service)
            scope = try container.decodeIfPresent(String.self, forKey: .scope)
        }
    }

    let prefixes: [LenientEntry<Entry>]
}

extension RangeList {
    /// Reads cloud.json, where each prefix's scope is its region. An entry without a scope counts as unreadable:
    /// cloud.json has no such entries, and goog.json has no others.
    static func googleCloud(_ json: [UInt8]) throws(RangeListError) -> Contents {
        try google(json, expected: "Google's cloud.json: an object with the array `prefixes`") { entry in
            guard let scope = entry.scope, let service = entry.service else { return nil }
            return CloudPlace(cloud: RangeProvider.gcp.cloud, region: scope.asLabel, service: service.asLabel)
        }
    }

    /// Reads goog.json, which says only that an address is Google's.
    static func google(_ json: [UInt8]) throws(RangeListError) -> Contents {
        let place = CloudPlace(
            cloud: RangeProvider.google.cloud, region: CloudPlace.globalRegion, service: "googleservice")
        return try google(json, expected: "Google's goog.json: an object with the array `prefixes`") { _ in place }
    }

    private static func google(
        _ json: [UInt8], expected: String, place: (GoogleDocument.Entry) -> CloudPlace?
    ) throws(RangeListError) -> Contents {
        let document = try decode(GoogleDocument.self, json, expected: expected)
        var places = PlaceTable()
        var mentions: [ListedPrefix] = []
        var skipped = 0
        for entry in document.prefixes {
            guard let entry = entry.value, let place = place(entry) else {
                skipped += 1
                continue
            }
            mentions.append(entry.prefix, label: places.number(of: place))
        }
        mentions.sort()
        var prefixes: [ListedPrefix] = []
        mentions.forEachPrefix { mentions in
            prefixes.append(mentions[mentions.endIndex - 1])
        }
        return Contents(places: places.places, prefixes: prefixes, skipped: skipped)
    }
}
