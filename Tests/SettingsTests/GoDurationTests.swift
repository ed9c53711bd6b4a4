// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Settings
import TestSupport
import Testing

@Suite struct GoDurationTests {
    /// The results of Go's `time.ParseDuration` for the same texts.
    @Test(
        "durations as Go writes them are parsed",
        arguments: [
            ("0", .zero), ("0s", .zero), ("5s", .seconds(5)), ("300s", .seconds(300)), ("500ms", .milliseconds(500)),
            ("1m30s", .seconds(90)), ("1h", .seconds(3600)), ("1.5h", .seconds(5400)),
            ("1h2m3s4ms", .milliseconds(3_723_004)),
            ("1us", .microseconds(1)), ("1µs", .microseconds(1)), ("1μs", .microseconds(1)), ("7ns", .nanoseconds(7)),
            (".5s", .milliseconds(500)), ("1.s", .seconds(1)), ("0.25m", .seconds(15)), ("10s10s", .seconds(20)),
            ("2540400h", .seconds(9_145_440_000)), ("9ms", .milliseconds(9)), ("0.000000001s", .nanoseconds(1)),
            ("1.0000000019s", .seconds(1) + .nanoseconds(1)),
            ("0.123456789012345678901234567890h", .nanoseconds(444_444_440_444)),
            ("9223372036854775807ns", .nanoseconds(Int64.max)),
        ] as [(String, Duration)])
    func whatGoWritesIsRead(text: String, duration: Duration) {
        #expect(Duration(goDuration: text) == duration)
    }

    @Test(
        "negative, malformed and too long durations are rejected",
        arguments: [
            "", " ", "5", "1.5", "s", ".s", ".", "5 s", " 5s", "5s ", "+5s", "-5s", "5S", "5d", "5sec", "1e3s", "0x5s",
            "1,5s",
            "1.2.3s", "5s5", "∞", "٥s", "5ｓ", "nan", "inf", "99999999999h", "9223372037s", "9223372036854775808ns",
            "1m-3s",
            "99999999999999999999s",
        ])
    func whatGoDoesNotWriteOrNoSettingCanBeIsRefused(text: String) {
        #expect(Duration(goDuration: text) == nil)
    }

    /// A duration that is parsed slightly too short would lose a whole millisecond, since `milliseconds` truncates.
    @Test("whole milliseconds are parsed exactly") func wholeMillisecondsStayWhole() {
        let wrong = stride(from: 0, to: 400_000, by: 37).filter { number in
            let texts = [
                "\(number)ms", "\(number / 1000).\(String(1000 + number % 1000).dropFirst())s",
                "\(number / 60_000)m\(number % 60_000)ms",
            ]
            return texts.contains { Duration(goDuration: $0)?.milliseconds != number }
        }
        #expect(wrong.isEmpty, "\(wrong.count) such as \(wrong.first ?? 0) ms")
    }

    @Test("durations of any length have a text") func anyDuration() {
        for duration in EdgeNumbers.durations { #expect(!duration.goText.isEmpty) }
    }
}
