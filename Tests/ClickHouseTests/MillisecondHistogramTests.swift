// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import ClickHouse

@Suite struct MillisecondHistogramTests {
    @Test func aDurationIsInTheFirstRangeThatHoldsIt() {
        var histogram = MillisecondHistogram()
        for duration in [Duration.zero, .milliseconds(5), .milliseconds(6), .seconds(600), .seconds(601)] {
            histogram.add(duration)
        }
        let last = MillisecondHistogram.bounds.count
        #expect(histogram.counts[0] == 2 && histogram.counts[1] == 1)
        #expect(histogram.counts[last - 1] == 1 && histogram.counts[last] == 1)
        #expect(histogram.counts.reduce(0, +) == 5)
        #expect(histogram.sum == 11 + 600_000 + 601_000)
    }
}
