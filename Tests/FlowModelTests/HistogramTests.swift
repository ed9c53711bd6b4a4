// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@Suite struct HistogramTests {
    @Test("a duration is counted in the first bucket whose bound it does not exceed")
    func aDurationIsInTheFirstRangeThatHoldsIt() {
        var histogram = Histogram(bounds: [5, 10, 600_000])
        for duration in [Duration.zero, .milliseconds(5), .milliseconds(6), .seconds(600), .seconds(601)] {
            histogram.add(duration)
        }
        let last = histogram.bounds.count
        #expect(histogram.counts[0] == 2 && histogram.counts[1] == 1)
        #expect(histogram.counts[last - 1] == 1 && histogram.counts[last] == 1)
        #expect(histogram.count == 5)
        #expect(histogram.sum == 11 + 600_000 + 601_000)
    }

    @Test("every value is counted, and the sum saturates")
    func anyValue() {
        var histogram = Histogram(bounds: [5, 10, 600_000])
        for duration in EdgeNumbers.durations { histogram.add(duration) }
        for value in EdgeNumbers.integers(UInt64.self) { histogram.add(value) }
        #expect(histogram.sum == .max)
        #expect(histogram.count == UInt64(EdgeNumbers.durations.count + EdgeNumbers.integers(UInt64.self).count))
    }
}
