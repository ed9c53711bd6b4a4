// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Testing

@Suite struct AWSRangesTests {
    @Test("the list's IPv4 and IPv6 prefixes are read") func bothFamiliesAreRead() throws {
        let list = try RangeList(TestLists.aws, of: .aws)
        #expect(
            list.lines == [
                "3.2.34.0/26 aws global globalaccelerator", "3.5.140.0/22 aws eu-central-1 s3",
                "2a05:d07a:a000::/40 aws eu-south-1 amazon",
            ])
        #expect(list.regions == ["eu-central-1", "eu-south-1"])
        #expect(list.skipped == 0)
        #expect(list.count == 3)
    }

    @Test(
        "of several services for a prefix, the most specific one counts",
        arguments: [
            (["AMAZON", "S3"], "s3"), (["S3", "AMAZON"], "s3"), (["S3", "EC2", "DYNAMODB", "AMAZON"], "s3"),
            (["AMAZON", "DYNAMODB", "EC2"], "dynamodb"), (["DYNAMODB", "AMAZON"], "dynamodb"),
            (["EC2", "AMAZON"], "amazon"), (["AMAZON", "EC2"], "amazon"), (["EC2"], "ec2"),
            // Among services of equal rank, the last one listed wins.
            (["CLOUDFRONT", "AMAZON", "CLOUDFRONT_ORIGIN_FACING"], "cloudfront_origin_facing"),
        ])
    func theMostTellingServiceCounts(services: [String], expected: String) throws {
        let entries = services.map {
            #"{"ip_prefix": "192.0.2.0/24", "region": "us-east-1", "service": "\#($0)"}"#
        }
        let list = try RangeList(
            #"{"prefixes": [\#(entries.joined(separator: ","))], "ipv6_prefixes": []}"#, of: .aws)
        #expect(list.lines == ["192.0.2.0/24 aws us-east-1 \(expected)"])
    }

    @Test("a list without one of its arrays is read without it, and the array is reported")
    func aMissingArrayLosesThatArray() throws {
        let all = try RangeList(TestLists.aws, of: .aws)
        #expect(all.missing.isEmpty)
        for (name, broken) in [("prefixes", ""), ("ipv6_prefixes", ""), ("ipv6_prefixes", "\"ipv6_prefixes\": null, ")]
        {
            let document = TestLists.aws.replacing("\"\(name)\": [", with: broken + "\"other\": [")
            let list = try RangeList(document, of: .aws)
            #expect(list.missing == [name])
            #expect(list.lines == all.lines.filter { $0.contains("::") == (name == "prefixes") })
        }
        let other = TestLists.aws.replacing("prefixes\": [", with: "x\": [")
        #expect(throws: RangeListError.self) { try RangeList(other, of: .aws) }
    }

    @Test("regions and services are in lower case without blanks") func labelsAreInLowerCaseWithoutBlanks() throws {
        let list = try RangeList(TestLists.aws(("192.0.2.0/24", " EU West-1", "Some Service ")), of: .aws)
        #expect(list.lines == ["192.0.2.0/24 aws euwest-1 someservice"])
    }

    @Test("a prefix inside another keeps its own region and service")
    func aBlockInsideAnotherKeepsItsOwnPlace() throws {
        let list = try RangeList(
            TestLists.aws(("192.0.2.128/25", "us-east-1", "S3"), ("192.0.2.0/24", "eu-west-1", "EC2")), of: .aws)
        #expect(list.lines == ["192.0.2.0/24 aws eu-west-1 ec2", "192.0.2.128/25 aws us-east-1 s3"])
    }
}
