// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import ClusterModel
import FlowModel
import Testing

private func range(_ prefix: String, _ cloud: String, _ region: String = "", _ service: String = "") throws
    -> CloudRange
{
    CloudRange(
        prefix: try #require(IPPrefix(prefix)), place: CloudPlace(cloud: cloud, region: region, service: service))
}

@Suite struct MergedRangesTests {
    @Test("a prefix in both of Google's lists keeps its region", arguments: [true, false])
    func aPrefixInBothOfGooglesListsKeepsItsRegion(isReversed: Bool) throws {
        let lists = [
            try RangeList(TestLists.googleCloud, of: .gcp), try RangeList(TestLists.google, of: .google),
        ]
        let merged = MergedRanges(isReversed ? lists.reversed() : lists)
        #expect(
            merged.ranges.map(\.line) == [
                "8.8.8.0/24 gcp global googleservice", "34.1.208.0/20 gcp africa-south1 googlecloud",
                "34.8.0.0/16 gcp global googlecloud", "2001:4860::/32 gcp global googleservice",
                "2600:1900:8000::/44 gcp africa-south1 googlecloud",
            ])
        #expect(merged.contested == 0)
    }

    @Test("the user's own range wins over a provider's") func theUsersOwnRangesCountMore() throws {
        let merged = MergedRanges(
            [try RangeList(TestLists.aws, of: .aws)],
            named: [
                try range("3.5.140.0/22", "us", "here", "first"), try range("3.5.140.0/22", "us", "here", "last"),
                try range("203.0.113.0/24", "dc"),
            ])
        #expect(
            merged.ranges.map(\.line) == [
                "3.2.34.0/26 aws global globalaccelerator", "3.5.140.0/22 us here last", "203.0.113.0/24 dc  ",
                "2a05:d07a:a000::/40 aws eu-south-1 amazon",
            ])
        #expect(merged.contested == 0)
    }

    @Test("a prefix listed by two clouds always goes to the same one, and is counted")
    func aBlockOfTwoCloudsIsTheSameOnesAlwaysAndCounted() throws {
        let aws = try RangeList(TestLists.aws(("192.0.2.0/24", "us-east-1", "EC2")), of: .aws)
        let azure = try RangeList(
            TestLists.azure(("A", "eastus", "X", ["192.0.2.0/24", "198.51.100.0/24"])), of: .azure)
        let google = try RangeList(
            #"{"prefixes": [{"ipv4Prefix": "198.51.100.0/24"}, {"ipv4Prefix": "192.0.2.0/24"}]}"#, of: .google)
        for lists in [[aws, azure, google], [google, azure, aws], [azure, google, aws]] {
            let merged = MergedRanges(lists)
            #expect(
                merged.ranges.map(\.line) == ["192.0.2.0/24 aws us-east-1 ec2", "198.51.100.0/24 azure eastus x"])
            #expect(merged.contested == 2)
        }
    }

    @Test("merging no lists gives no ranges") func nothingMergesToNothing() {
        #expect(MergedRanges([]).ranges == [])
    }
}
