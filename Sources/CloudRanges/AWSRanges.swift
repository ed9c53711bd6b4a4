// SPDX-License-Identifier: Apache-2.0

internal import ClusterModel
internal import FlowModel

/// The format of ip-ranges.json: <https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html>
private struct AWSDocument: Decodable {
    struct Entry: Decodable {
        let prefix: IPPrefix
        let region: String
        let service: String

        enum CodingKeys: String, CodingKey {
            case ipPrefix = "ip_prefix"
            case ipv6Prefix = "ipv6_prefix"
            case region
            case service
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            prefix =
                try
                (container.decodeIfPresent(PrefixText.self, forKey: .ipPrefix)
                ?? container.decode(PrefixText.self, forKey: .ipv6Prefix)).prefix
            region = try container.decode(String.self, forKey: .region)
            service = try container.decode(String.self, forKey: .service)
        }
    }

    let entries: [LenientEntry<Entry>]
    /// The names of absent or unreadable arrays.
    let missing: [String]

    enum CodingKeys: String, CodingKey, CaseIterable {
        case prefixes
        case ipv6Prefixes = "ipv6_prefixes"
    }

    /// Throws if none of the arrays can be read.
    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        var entries: [LenientEntry<Entry>] = []
        var missing: [String] = []
        var problem: (any Error)?
        for key in CodingKeys.allCases {
            do {
                entries += try container.decode([LenientEntry<Entry>].self, forKey: key)
            } catch {
                missing.append(key.rawValue)
                problem = error
            }
        }
        if let problem, missing.count == CodingKeys.allCases.count { throw problem }
        self.entries = entries
        self.missing = missing
    }
}

extension RangeList {
    /// Reads ip-ranges.json, which lists a prefix once for every service that uses it, and once for AMAZON, which
    /// stands for all services.
    static func aws(_ json: [UInt8]) throws(RangeListError) -> Contents {
        let document = try decode(
            AWSDocument.self, json,
            expected: "AWS ip-ranges.json: an object with the arrays `prefixes` and `ipv6_prefixes`")
        var places = PlaceTable()
        var mentions: [ListedPrefix] = []
        mentions.reserveCapacity(document.entries.count)
        var skipped = 0
        for entry in document.entries {
            guard let entry = entry.value else {
                skipped += 1
                continue
            }
            let place = CloudPlace(
                cloud: RangeProvider.aws.cloud, region: entry.region.asLabel, service: entry.service.asLabel)
            mentions.append(entry.prefix, label: places.number(of: place))
        }
        let ranks = places.places.map { Self.rank(ofAWSService: $0.service) }
        mentions.sort()
        var prefixes: [ListedPrefix] = []
        mentions.forEachPrefix { mentions in
            // Among services of equal rank, the last one listed wins, as in kubenetmon.
            var best = mentions[mentions.startIndex]
            for mention in mentions where ranks[Int(mention.label)] >= ranks[Int(best.label)] { best = mention }
            prefixes.append(best)
        }
        return Contents(places: places.places, prefixes: prefixes, skipped: skipped, missing: document.missing)
    }

    /// Returns the rank of a service; the most specific service has the highest.
    private static func rank(ofAWSService service: String) -> Int {
        switch service {
        case "s3": 3
        case "amazon": 1
        case "ec2": 0
        default: 2
        }
    }
}
