// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CloudRanges

@Suite struct DatedURLTests {
    @Test func mondaysComeFirstAndThenTheRestOfTheirWeek() throws {
        let url = try #require(DatedURL("https://example.org/Tags_YYYYMMDD.json"))
        // Thursday 2025-01-02 is day 20090.
        let candidates = url.candidates(today: 20_090)
        let days = candidates.map { String($0.dropFirst("https://example.org/Tags_".count).dropLast(".json".count)) }
        #expect(candidates.allSatisfy { $0.hasPrefix("https://example.org/Tags_20") && $0.hasSuffix(".json") })
        #expect(
            days.prefix(12) == [
                "20241230", "20250102", "20250101", "20241231",
                "20241223", "20241229", "20241228", "20241227", "20241226", "20241225", "20241224",
                "20241216",
            ])
        // Every day once, today and the 30 before it.
        #expect(days.count == 31)
        #expect(Set(days).count == 31)
        #expect(days.min() == "20241203")
        #expect(days.max() == "20250102")
    }

    @Test(arguments: [
        (19_782, "20240229"), (19_783, "20240301"), (11_016, "20000229"), (20_148, "20250301"), (0, "19700101"),
    ])
    func daysAreThoseOfTheCalendar(day: Int, text: String) throws {
        let url = try #require(DatedURL("YYYYMMDD"))
        #expect(url.candidates(today: day).contains(text))
        #expect(url.candidates(today: day + 31).contains(text) == false)
    }

    @Test func onAMondayThatDayIsTheFirst() throws {
        // Monday 2025-07-21 is day 20290.
        #expect(try #require(DatedURL("YYYYMMDD")).candidates(today: 20_290).first == "20250721")
        // Sunday 2025-07-27.
        #expect(
            try #require(DatedURL("YYYYMMDD")).candidates(today: 20_296).prefix(3)
                == ["20250721", "20250727", "20250726"])
    }

    @Test func aURLWithoutADayIsNone() {
        #expect(DatedURL("https://example.org/tags.json") == nil)
        #expect(DatedURL(RangeProvider.azure.publishedURL) != nil)
        #expect(DatedURL(RangeProvider.aws.publishedURL) == nil)
    }
}
