// SPDX-License-Identifier: Apache-2.0

import LogLimits
import Testing

@Suite struct LogLimitTests {
    private let start = ContinuousClock.now

    @Test("lines beyond the limit per interval are counted instead of admitted") func limit() {
        var limit = LogLimit<String>(lines: 2, per: .seconds(10))
        #expect((0..<5).map { limit.admit("a", at: start + .seconds($0)) } == [0, 0, nil, nil, nil])
        #expect(limit.admit("b", at: start + .seconds(5)) == 0)
        #expect(limit.admit("a", at: start + .seconds(10)) == 3)
        #expect(limit.admit("a", at: start + .seconds(11)) == 0)
        #expect(limit.admit("a", at: start + .seconds(12)) == nil)
    }

    @Test("after a reset, lines of every kind are admitted") func reset() {
        var limit = LogLimit<String>(per: .seconds(10))
        #expect(limit.admit("a", at: start) == 0 && limit.admit("a", at: start) == nil)
        limit.reset()
        #expect(limit.admit("a", at: start) == 0)
    }

    @Test("the counts of ended intervals are taken once, the oldest first") func takeEnded() {
        var limit = LogLimit<String>(per: .seconds(60))
        for (kind, second) in [("a", 0), ("b", 1), ("c", 2), ("b", 3), ("a", 4), ("a", 5), ("d", 6), ("d", 7)] {
            _ = limit.admit(kind, at: start + .seconds(second))
        }
        #expect(limit.takeEnded(at: start + .seconds(59)).isEmpty)
        let ended = limit.takeEnded(at: start + .seconds(62))
        #expect(ended.map(\.kind) == ["a", "b"] && ended.map(\.suppressed) == [2, 1])
        #expect(limit.count == 1)
        let rest = limit.takeAll()
        #expect(rest.map(\.kind) == ["d"] && rest.map(\.suppressed) == [1])
        #expect(limit.count == 0)
    }

    @Test("the number of remembered kinds is limited") func memory() {
        var limit = LogLimit<Int>(per: .seconds(60))
        for number in 0..<10_000 { #expect(limit.admit(number, at: start) == 0) }
        #expect(limit.count <= LogLimit<Int>.maximumKinds)
    }

    @Test("ended intervals make room for further kinds first") func roomOfEndedIntervals() {
        var limit = LogLimit<Int>(per: .seconds(60))
        for number in 1..<LogLimit<Int>.maximumKinds { _ = limit.admit(number, at: start) }
        _ = limit.admit(0, at: start + .seconds(30))
        #expect(!limit.hasRoom(for: -1) && limit.hasRoom(for: 0))
        #expect(limit.admit(-1, at: start + .seconds(60)) == 0)
        #expect(limit.admit(0, at: start + .seconds(60)) == nil)
    }
}
