// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import ClusterModel
import FlowModel
import Testing

/// Small lists in the providers' own formats.
enum TestLists {
    static let aws = """
        {
          "syncToken": "1787411825",
          "createDate": "2026-08-22-15-17-05",
          "prefixes": [
            {"ip_prefix": "3.5.140.0/22", "region": "eu-central-1", "service": "AMAZON", "network_border_group": "x"},
            {"ip_prefix": "3.5.140.0/22", "region": "eu-central-1", "service": "S3", "network_border_group": "x"},
            {"ip_prefix": "3.2.34.0/26", "region": "GLOBAL", "service": "GLOBALACCELERATOR",
             "network_border_group": "GLOBAL"}
          ],
          "ipv6_prefixes": [
            {"ipv6_prefix": "2a05:d07a:a000::/40", "region": "eu-south-1", "service": "AMAZON",
             "network_border_group": "eu-south-1"}
          ]
        }
        """
    static let googleCloud = """
        {
          "syncToken": "1753409788780",
          "creationTime": "2025-07-24T19:16:28.780563",
          "prefixes": [{
            "ipv4Prefix": "34.1.208.0/20",
            "service": "Google Cloud",
            "scope": "africa-south1"
          }, {
            "ipv6Prefix": "2600:1900:8000::/44",
            "service": "Google Cloud",
            "scope": "africa-south1"
          }, {
            "ipv4Prefix": "34.8.0.0/16",
            "service": "Google Cloud",
            "scope": "global"
          }]
        }
        """
    static let google = """
        {"syncToken": "1", "creationTime": "2024-04-25T07:05:03.68994",
         "prefixes": [{"ipv4Prefix": "8.8.8.0/24"}, {"ipv4Prefix": "34.1.208.0/20"}, {"ipv6Prefix": "2001:4860::/32"}]}
        """
    static let azure = azure(
        ("ActionGroup", "", "ActionGroup", ["4.145.74.52/30"]),
        ("AzureCloud.westeurope", "westeurope", "", ["4.145.0.0/16", "2603:1020:200::/46"]))

    /// Returns a document of service tags.
    static func azure(_ tags: (name: String, region: String, service: String, prefixes: [String])...) -> String {
        let values = tags.map { tag in
            """
            {"name": "\(tag.name)", "id": "\(tag.name)", "properties": {
               "changeNumber": 50, "region": "\(tag.region)", "regionId": 0, "platform": "Azure",
               "systemService": "\(tag.service)",
               "addressPrefixes": [\(tag.prefixes.map { "\"\($0)\"" }.joined(separator: ", "))],
               "networkFeatures": ["API", "NSG"]}}
            """
        }
        return #"{"changeNumber": 363, "cloud": "Public", "values": [\#(values.joined(separator: ",\n"))]}"#
    }

    /// Returns a document with an entry for each prefix, region and service.
    static func aws(_ entries: (prefix: String, region: String, service: String)...) -> String {
        let entries = entries.map {
            #"{"ip_prefix": "\#($0.prefix)", "region": "\#($0.region)", "service": "\#($0.service)"}"#
        }
        return #"{"prefixes": [\#(entries.joined(separator: ", "))], "ipv6_prefixes": []}"#
    }
}

extension RangeList {
    init(_ text: String, of provider: RangeProvider) throws(RangeListError) {
        try self.init(Array(text.utf8), of: provider)
    }

    /// The prefixes and their places as text, such as `8.8.8.0/24 gcp global googleservice`.
    var lines: [String] { ranges.map(\.line) }
}

extension CloudRange {
    /// The prefix and its place as text.
    var line: String { "\(prefix) \(place.cloud) \(place.region) \(place.service)" }
}
