// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Operations

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
}
