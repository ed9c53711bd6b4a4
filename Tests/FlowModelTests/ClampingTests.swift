// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@Suite struct ClampingTests {
    @Test(
        "a floating-point number is converted to the nearest integer within the type's bounds",
        arguments: [
            (.nan, 0), (.infinity, .max), (-.infinity, .min), (1e300, .max), (-1e300, .min), (0x1p63, .max),
            (-0x1p63, .min), (2.5, 3), (-2.5, -3), (-0.0, 0), (0.49, 0),
        ] as [(Double, Int)])
    func conversion(value: Double, expected: Int) {
        #expect(Int(clamping: value) == expected)
        #expect(UInt8(clamping: value) == UInt8(clamping: expected))
    }

    @Test("sums and differences saturate at the bounds")
    func sums() {
        #expect(UInt64.max.clampedAdding(1) == .max && (1 as UInt64).clampedSubtracting(2) == 0)
        #expect(Int.max.clampedAdding(1) == .max && Int.min.clampedAdding(-1) == .min)
        #expect(Int.min.clampedSubtracting(1) == .min && (0 as Int).clampedSubtracting(.min) == .max)
        #expect((3 as Int).clampedAdding(-5) == -2 && [UInt64.max, 7].clampedSum == .max && [1, 2].clampedSum == 3)
        #expect([UInt64]().clampedSum == 0)
    }

    @Test("durations saturate at the bounds")
    func durations() {
        let longest = Duration(attoseconds: .max)
        #expect(longest.clampedSubtracting(.seconds(-1)) == longest)
        #expect(Duration.seconds(5).clampedSubtracting(.seconds(2)) == .seconds(3))
        #expect(longest.wholeSeconds == .max && Duration.milliseconds(-1_500).wholeSeconds == -1)
        #expect(Duration(clampingSeconds: .infinity) == longest && Duration(clampingSeconds: .nan) == .zero)
        #expect(Duration(clampingSeconds: 1.5) == .milliseconds(1_500))
        #expect(Duration(clampingSeconds: -1.5) == .milliseconds(-1_500))
        #expect(Duration(clampingSeconds: 1_800_000_001) == .seconds(1_800_000_001))
        #expect(Duration(clampingSeconds: -1e300) == Duration(attoseconds: .min))
    }

    @Test("a duration is converted to milliseconds and seconds") func durationUnits() {
        #expect(Duration.microseconds(1_999).milliseconds == 1)
        #expect(Duration.seconds(90).milliseconds == 90_000)
        #expect(Duration.milliseconds(1_250).seconds == 1.25)
        #expect(Duration.zero.seconds == 0)
        #expect(Duration(attoseconds: .max).milliseconds == .max)
    }

    @Test("durations of any length are converted") func anyDuration() {
        for duration in EdgeNumbers.durations {
            #expect(duration.seconds.isFinite)
            #expect((duration.milliseconds >= 0) == (duration >= .zero) || duration.milliseconds == 0)
        }
    }
}
