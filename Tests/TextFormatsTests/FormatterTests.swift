// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import TextFormats

/// Formatted values come from peers, the kernel and clocks that can be set back: no value of a formatter's type may
/// trap.
@Suite struct FormatterTests {
    private func expectAll<Number: FixedWidthInteger & Sendable>(_: Number.Type) {
        for number in EdgeNumbers.integers(Number.self) {
            #expect(!ReadableText.count(number).isEmpty)
            let bytes = ReadableText.bytes(number)
            #expect(bytes.hasSuffix("B") && !bytes.contains(".-"))
        }
    }

    @Test("counts and bytes of every integer type are formatted at all bounds")
    func integers() {
        expectAll(Int8.self)
        expectAll(UInt8.self)
        expectAll(Int32.self)
        expectAll(UInt32.self)
        expectAll(Int.self)
        expectAll(UInt64.self)
        expectAll(Int128.self)
        expectAll(UInt128.self)
        #expect(ReadableText.bytes(UInt128.max).hasSuffix("EiB"))
    }

    @Test("shares of extreme numbers are formatted")
    func shares() {
        for part in EdgeNumbers.integers(UInt64.self) {
            for whole in EdgeNumbers.integers(UInt64.self) {
                #expect(ReadableText.share(part, of: whole).hasSuffix(" %"))
            }
        }
        #expect(ReadableText.share(.max, of: 1).hasSuffix(" %"))
    }

    @Test("durations of any length are formatted")
    func durations() {
        for duration in EdgeNumbers.durations {
            #expect(!ReadableText.duration(duration).isEmpty && !ReadableText.duration(duration).hasPrefix("-"))
        }
        #expect(ReadableText.duration(Duration(attoseconds: .max)).hasPrefix("1969226660422097 d"))
    }

    @Test("times of day of any second are formatted")
    func timesOfDay() {
        for second in EdgeNumbers.integers(Int.self) {
            let text = ReadableText.timeOfDay(second)
            #expect(text.utf8.count == 5 && text < "24:00" && !text.contains("-"), "\(second) is \(text)")
        }
        #expect(ReadableText.timeOfDay(-60) == "23:59")
    }

    @Test("wall times of any second are formatted")
    func wallTimes() {
        for second in EdgeNumbers.integers(Int.self) {
            #expect(WallClock.text(of: .seconds(second)).hasSuffix(".000Z"))
        }
    }
}
