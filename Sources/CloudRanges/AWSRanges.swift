// SPDX-License-Identifier: Apache-2.0

internal import FlowModel

/// <https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html>
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

    let prefixes: [LenientEntry<Entry>]
    let ipv6Prefixes: [LenientEntry<Entry>]

    enum CodingKeys: String, CodingKey {
        case prefixes
        case ipv6Prefixes = "ipv6_prefixes"
    }
}

extension RangeList {
    /// Reads ip-ranges.json. It lists a prefix once for every service that uses it, and once for AMAZON, which stands for
    /// all of them.
    static func aws(_ json: [UInt8]) throws(RangeListError) -> Contents {
        let document = try decode(
            AWSDocument.self, json,
            expected: "AWS ip-ranges.json: an object with the arrays `prefixes` and `ipv6_prefixes`")
        var places = PlaceTable()
        var mentions: [ListedPrefix] = []
        mentions.reserveCapacity(document.prefixes.count + document.ipv6Prefixes.count)
        var skipped = 0
        for entry in [document.prefixes, document.ipv6Prefixes].joined() {
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
            // Of services of one rank, the one listed last counts, as in kubenetmon.
            var best = mentions[mentions.startIndex]
            for mention in mentions where ranks[Int(mention.label)] >= ranks[Int(best.label)] { best = mention }
            prefixes.append(best)
        }
        return Contents(places: places.places, prefixes: prefixes, skipped: skipped)
    }

    /// The most telling service has the highest rank.
    private static func rank(ofAWSService service: String) -> Int {
        switch service {
        case "s3": 3
        case "amazon": 1
        case "ec2": 0
        default: 2
        }
    }
}
