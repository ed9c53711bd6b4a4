// SPDX-License-Identifier: Apache-2.0

import Retry
import TestSupport
import Testing

@testable import CloudRanges

@Suite struct RangeSourceStateTests {
    private let start = ContinuousClock.now

    private func state() -> RangeSourceState {
        RangeSourceState(
            interval: .seconds(86_400), backoff: .rangeList)
    }

    @Test("a list is fetched at once and then once an interval") func itIsAskedAtOnceAndThenOnceAnInterval() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            var generator = SeededGenerator(seed: seed)
            var state = state()
            #expect(state.isDue(at: start))
            state.begin()
            #expect(!state.isDue(at: start + .seconds(1_000_000)))
            #expect(state.succeed(at: start, using: &generator) == .works)
            let next = try #require(state.nextAttempt(now: start)) - start
            #expect(next > .seconds(77_759) && next <= .seconds(86_400))
            #expect(!state.isDue(at: start + next - .seconds(1)))
            #expect(state.isDue(at: start + next))
        }
    }

    @Test("the times of refreshes differ between servers") func serversThatStartTogetherDoNotStayTogether() {
        let times = (1...10 as ClosedRange<UInt64>).map { seed in
            var generator = SeededGenerator(seed: seed)
            var state = state()
            _ = state.succeed(at: start, using: &generator)
            return state.nextAttempt(now: start)
        }
        #expect(Set(times).count == 10)
    }

    @Test("the delay after failures grows up to an hour")
    func failuresAreFurtherAndFurtherApartButNeverTooFar() throws {
        var generator = SeededGenerator(seed: 1)
        var state = state()
        var waits: [Duration] = []
        for _ in 0..<20 {
            state.begin()
            _ = state.fail(at: start, using: &generator)
            waits.append(try #require(state.nextAttempt(now: start)) - start)
        }
        #expect(waits[0] >= .seconds(6) && waits[0] <= .seconds(60))
        #expect(waits.allSatisfy { $0 <= .seconds(3_600) })
        #expect(waits.suffix(10).allSatisfy { $0 >= .seconds(360) })
        _ = state.succeed(at: start, using: &generator)
        _ = state.fail(at: start, using: &generator)
        #expect(try #require(state.nextAttempt(now: start)) - start <= .seconds(60))
    }

    @Test("the delay in Retry-After is kept, up to one interval") func aServerThatWantsToBeLeftAloneIs() throws {
        var generator = SeededGenerator(seed: 1)
        var state = state()
        _ = state.fail(at: start, retryAfter: .seconds(7_200), using: &generator)
        #expect(state.nextAttempt(now: start) == start + .seconds(7_200))
        // The wait is limited to one interval.
        _ = state.fail(at: start, retryAfter: .seconds(86_400 * 365), using: &generator)
        #expect(state.nextAttempt(now: start) == start + .seconds(86_400))
        _ = state.fail(at: start, retryAfter: .seconds(0), using: &generator)
        #expect(try #require(state.nextAttempt(now: start)) > start)
    }

    @Test("only changes between working and failing are reported") func onlyChangesAreToldOf() {
        var generator = SeededGenerator(seed: 1)
        var state = state()
        #expect(state.fail(at: start, using: &generator) == .fails)
        #expect(state.fail(at: start, using: &generator) == nil)
        #expect(state.succeed(at: start, using: &generator) == .works)
        #expect(state.succeed(at: start, using: &generator) == nil)
        #expect(state.fail(at: start, using: &generator) == .fails)
    }
}
