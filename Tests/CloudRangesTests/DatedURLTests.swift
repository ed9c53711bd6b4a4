// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CloudRanges

@Suite struct DatedURLTests {
    @Test("the candidates of a dated URL are today and the 30 days before, newest first")
    func theNewestDayComesFirst() throws {
        let url = try #require(DatedURL("https://example.org/Tags_YYYYMMDD.json"))
        // 2025-01-02 is day 20090.
        let candidates = url.candidates(today: 20_090)
        #expect(candidates[0] == "https://example.org/Tags_20250102.json")
        #expect(candidates[2] == "https://example.org/Tags_20241231.json")
        // Today and the 30 days before it.
        #expect(candidates.count == 31)
        #expect(candidates[30] == "https://example.org/Tags_20241203.json")
    }

    @Test(
        "days are converted to calendar dates",
        arguments: [
            (19_782, "20240229"), (19_783, "20240301"), (11_016, "20000229"), (20_148, "20250301"), (0, "19700101"),
        ])
    func daysAreThoseOfTheCalendar(day: Int, text: String) throws {
        let url = try #require(DatedURL("YYYYMMDD"))
        #expect(url.candidates(today: day).contains(text))
        #expect(url.candidates(today: day + 31).contains(text) == false)
    }

    @Test("a URL without YYYYMMDD is not a dated URL") func aURLWithoutADayIsNone() {
        #expect(DatedURL("https://example.org/tags.json") == nil)
        #expect(DatedURL(RangeProvider.azure.publishedURL) != nil)
        #expect(DatedURL(RangeProvider.aws.publishedURL) == nil)
    }
}
