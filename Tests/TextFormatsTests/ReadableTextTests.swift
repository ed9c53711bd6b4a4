// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import TextFormats

@Suite struct ReadableTextTests {
    @Test(
        "a count is printed with thousands separators",
        arguments: [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"), (100_000, "100,000")])
    func counts(value: Int, text: String) {
        #expect(ReadableText.count(value) == text)
    }

    @Test(
        "a number of bytes is printed with a binary unit",
        arguments: [
            (0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_536, "1.5 KiB"), ((1 << 20) - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"), (.max, "16.0 EiB"),
        ] as [(UInt64, String)])
    func bytes(value: UInt64, text: String) {
        #expect(ReadableText.bytes(value) == text)
    }

    @Test(
        "a share is printed in percent",
        arguments: [(1, 3, "33.3 %"), (0, 0, "0.0 %"), (5, 5, "100.0 %"), (9_999, 10_000, "100.0 %")]
            as [(UInt64, UInt64, String)])
    func shares(part: UInt64, whole: UInt64, text: String) {
        #expect(ReadableText.share(part, of: whole) == text)
    }

    @Test(
        "a duration is printed in its two largest units",
        arguments: [
            (.zero, "0 ms"), (.milliseconds(999), "999 ms"), (.seconds(-5), "0 ms"), (.seconds(59), "59 s"),
            (.seconds(60), "1 min"), (.seconds(245), "4 min 5 s"), (.seconds(3_601), "1 h"),
            (.seconds(7_260), "2 h 1 min"),
            (.seconds(90_000 * 100), "104 d 4 h"),
        ] as [(Duration, String)])
    func durations(value: Duration, text: String) {
        #expect(ReadableText.duration(value) == text)
    }

    @Test("a time of day is printed in hours and minutes") func timesOfDay() {
        #expect(ReadableText.timeOfDay(1_772_366_400) == "12:00")
        #expect(ReadableText.timeOfDay(1_772_323_200 + 65 * 60 + 59) == "01:05")
    }

    @Test(
        "a number is shortened to three digits and a unit",
        arguments: [
            (0, "0"), (0.04, "0.0"), (0.44, "0.4"), (1, "1"), (9.96, "10.0"), (45.26, "45.3"), (99.96, "100"),
            (100.4, "100"),
            (999, "999"), (999.4, "999"), (999.5, "1.00K"), (1_000, "1.00K"), (9_994, "9.99K"), (9_995, "10.0K"),
            (99_949, "99.9K"), (99_950, "100K"), (999_499, "999K"), (999_500, "1.00M"), (1_234_567, "1.23M"),
            (5e9, "5.00G"), (1.5e12, "1.50T"), (2e15, "2.00P"), (18.4e18, "18.4E"),
        ])
    func threeDigitsAndAUnit(value: Double, text: String) {
        #expect(ReadableText.short(value) == text)
    }

    @Test(
        "a number is rounded to the requested decimals",
        arguments: [
            (0, 2, "0.00"), (1.005, 1, "1.0"), (0.999, 2, "1.00"), (12.34, 1, "12.3"), (7.6, 0, "8"), (2.05, 2, "2.05"),
        ])
    func digitsBehindThePoint(value: Double, decimals: Int, text: String) {
        #expect(ReadableText.decimal(value, decimals: decimals) == text)
    }

    @Test("every double, infinite or not a number too, has a text")
    func anyNumber() {
        for value in EdgeNumbers.doubles {
            #expect(!ReadableText.short(value).isEmpty && !ReadableText.decimal(value, decimals: 2).isEmpty)
        }
    }
}
