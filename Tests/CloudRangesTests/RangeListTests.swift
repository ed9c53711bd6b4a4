// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Testing

private let samples: [(RangeProvider, String)] = [
    (.aws, TestLists.aws), (.gcp, TestLists.googleCloud), (.azure, TestLists.azure), (.google, TestLists.google),
]

@Suite struct RangeListTests {
    @Test("unreadable entries of a list are skipped and counted")
    func entriesThatCannotBeReadAreLeftOutAndCounted() throws {
        let aws = try RangeList(
            """
            {"prefixes": [
               {"ip_prefix": "192.0.2.0/24", "region": "us-east-1", "service": "EC2"},
               {"ip_prefix": "192.0.2.1/24", "region": "us-east-1", "service": "EC2"},
               {"region": "us-east-1", "service": "EC2"}, 7],
             "ipv6_prefixes": [
               {"ipv6_prefix": "2001:db8::/32", "region": "us-east-1", "service": "EC2"},
               {"ipv6_prefix": "2001:db9::/32", "region": "us-east-1", "service": "EC2"}]}
            """, of: .aws)
        #expect(aws.count == 3)
        #expect(aws.skipped == 3)
        let azure = try RangeList(
            TestLists.azure(("A", "x", "S", ["192.0.2.0/24", "", "192.0.2.0", "198.51.100.0/24"])), of: .azure)
        #expect(azure.lines.count == 2)
        #expect(azure.skipped == 2)
        let tagless = try RangeList(
            TestLists.azure(("A", "x", "S", ["192.0.2.0/24"])).replacing("\"values\": [", with: "\"values\": [{},"),
            of: .azure)
        #expect(tagless.count == 1)
        #expect(tagless.skipped == 1)
    }

    @Test("a truncated list is rejected", arguments: samples)
    func aListThatEndsTooEarlyIsNone(provider: RangeProvider, text: String) throws {
        for length in [0, 1, text.utf8.count / 2, text.utf8.count - 1] {
            #expect(throws: RangeListError.self) { try RangeList(Array(text.utf8.prefix(length)), of: provider) }
        }
        guard case .notJSON = failure(String(text.dropLast(2)), provider) else {
            Issue.record("a truncated document is accepted as JSON")
            return
        }
    }

    @Test("the error about another document says what was expected", arguments: RangeProvider.allCases)
    func whatIsNoListIsAnErrorThatSaysWhatWasExpected(
        provider: RangeProvider
    ) throws {
        for text in ["{}", "[]", "7", #"{"values": 1, "prefixes": {}}"#] {
            guard case .notTheList(let expected, let detail) = failure(text, provider) else {
                Issue.record("\(text) is accepted as a list of \(provider)")
                continue
            }
            #expect(expected.contains(provider == .azure ? "values" : "prefixes"))
            #expect(!detail.isEmpty)
        }
        guard case .notJSON = failure("<html>Sign in</html>", provider) else {
            Issue.record("a web page is accepted as JSON")
            return
        }
        // A list of another provider is rejected.
        let other = provider == .azure ? TestLists.aws : TestLists.azure
        #expect(throws: RangeListError.self) { try RangeList(other, of: provider) }
    }

    @Test("a list without prefixes, or with mostly unreadable entries, is rejected") func nothingIsNotTakenForGood() {
        #expect(failure(#"{"prefixes": [], "ipv6_prefixes": []}"#, .aws) == .noPrefixes)
        #expect(failure(#"{"prefixes": []}"#, .gcp) == .noPrefixes)
        #expect(failure(#"{"prefixes": []}"#, .google) == .noPrefixes)
        #expect(failure(#"{"values": []}"#, .azure) == .noPrefixes)
        #expect(failure(TestLists.azure(("A", "x", "S", [])), .azure) == .noPrefixes)
        #expect(failure(#"{"prefixes": [1, 2]}"#, .google) == .mostlyUnreadable(skipped: 2, read: 0))
        #expect(
            failure(#"{"prefixes": [1, {"ipv4Prefix": "8.8.8.0/24"}, 2]}"#, .google)
                == .mostlyUnreadable(skipped: 2, read: 1))
    }

    private func failure(_ text: String, _ provider: RangeProvider) -> RangeListError? {
        do throws(RangeListError) {
            _ = try RangeList(text, of: provider)
            return nil
        } catch {
            return error
        }
    }
}
