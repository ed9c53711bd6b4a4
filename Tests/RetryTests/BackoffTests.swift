// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import Retry

@Suite struct BackoffTests {
    @Test("the longest delay doubles with every failure up to the maximum")
    func theBoundDoublesWithEveryFailureUpToTheMaximum() {
        var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(30))
        var highest = Always(bits: .max)
        let waits = (0..<9).map { _ in backoff.next(using: &highest) }
        #expect(waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30].map { Duration.seconds($0) })
        #expect(backoff.failures == 9)
    }

    @Test("the shortest delay is a tenth of the longest") func theShortestWaitIsATenthOfTheBound() {
        var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(3))
        var lowest = Always(bits: 1)
        let waits = (0..<5).map { _ in backoff.next(using: &lowest) }
        #expect(waits == [0.05, 0.1, 0.2, 0.3, 0.3].map { Duration.seconds($0) })
    }

    @Test("delays are spread evenly from a tenth of the longest delay to the longest")
    func jitterFillsTheRangeFromATenthOfTheBoundToTheBound() throws {
        var generator = SeededGenerator(seed: 1)
        for (failures, bound) in [(0, 0.5), (3, 4.0), (20, 30.0)] {
            let shares = (0..<2_000).map { _ in
                var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(30))
                for _ in 0..<failures { _ = backoff.next() }
                return backoff.next(using: &generator) / .seconds(bound)
            }
            let (least, most) = try (#require(shares.min()), #require(shares.max()))
            #expect(least >= 0.1 && least < 0.11, "after \(failures) failures")
            #expect(most <= 1 && most > 0.99, "after \(failures) failures")
            #expect(abs(shares.reduce(0, +) / Double(shares.count) - 0.55) < 0.02, "after \(failures) failures")
        }
    }

    @Test("a reset restores the initial delay") func successBeginsAnew() {
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(60))
        var highest = Always(bits: .max)
        for _ in 0..<5 { _ = backoff.next(using: &highest) }
        backoff.reset()
        #expect(backoff.failures == 0)
        #expect(backoff.next(using: &highest) == .seconds(1))
    }

    @Test("an initial delay above the maximum is capped") func anInitialBoundAboveTheMaximumIsCapped() {
        var backoff = Backoff(initial: .seconds(9), maximum: .seconds(2))
        var highest = Always(bits: .max)
        #expect(backoff.next(using: &highest) == .seconds(2))
    }

    @Test("presets have no failures, and wait at first no longer than at last")
    func presets() {
        let presets: [Backoff] = [
            .serverConnection, .serverConnectionAtShutdown, .spoolDirectory, .clickHouseTable, .insert,
            .insertNeedingOperator, .watch, .rangeList, .rangeFile(checkedEvery: .seconds(30)),
        ]
        for preset in presets {
            #expect(preset.failures == 0 && .zero < preset.initial && preset.initial <= preset.maximum)
        }
    }

    @Test("thousands of failures never exceed the maximum delay") func aYearOfFailuresStaysAtTheMaximum() {
        var backoff = Backoff(initial: .milliseconds(1), maximum: .seconds(Int64.max / 4))
        for _ in 0..<5_000 { #expect(backoff.next() <= backoff.maximum) }
    }
}

/// A generator that draws the lowest or the highest of every range.
private struct Always: RandomNumberGenerator {
    let bits: UInt64

    mutating func next() -> UInt64 { bits }
}
