// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Logging
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse
import ServerCore
@testable import Retry

@Suite struct DoubtSettlementTests {
    /// A ClickHouse whose answers the test decides.
    private final class Fences: Sendable {
        private struct State {
            var asked: [[DoubtfulBlock]] = []
            var isAway = false
        }

        private let state = Mutex(State())

        var asked: [[DoubtfulBlock]] { state.withLock { $0.asked } }

        func setAway(_ isAway: Bool) { state.withLock { $0.isAway = isAway } }

        /// Blocks with an even token are stored, except the block 4, whose fate is uncertain.
        func settle(_ blocks: [DoubtfulBlock]) throws(ClickHouseError) -> [BlockFate] {
            let isAway = state.withLock { state in
                state.asked.append(blocks)
                return state.isAway
            }
            if isAway { throw ClickHouseError.exception(code: 210, message: "away") }
            return blocks.map { block in
                if block.token == 4 { return .uncertain(reason: "a test") }
                return block.token.isMultiple(of: 2) ? .stored : .notStored
            }
        }
    }

    private func doubt(_ token: UInt128, age: Duration = .seconds(1)) -> Doubt {
        Doubt(token: token, day: 20_787, age: age, batches: 2, reportedBytes: 100)
    }

    private func start(_ fences: Fences, minimumAge: Duration = .zero) -> DoubtSettlement {
        DoubtSettlement(
            backoff: Backoff(initial: .milliseconds(1), maximum: .milliseconds(1)),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            settle: { blocks throws(ClickHouseError) in try fences.settle(blocks) }, cancel: {})
    }

    private func ask(_ settlement: DoubtSettlement, _ doubts: [Doubt]) async throws -> [SettledDoubt] {
        let answer = Mutex<[SettledDoubt]?>(nil)
        return try await withThrowingTaskGroup(of: [SettledDoubt].self) { _ in
            settlement.settle(doubts, isWanted: { true }) { settled in answer.withLock { $0 = settled } }
            try await eventually("the question is answered") { answer.withLock { $0 != nil } }
            return answer.withLock { $0 ?? [] }
        }
    }

    @Test("agents learn the fates of their blocks, and each block is settled once") func fates() async throws {
        let fences = Fences()
        let settlement = start(fences)
        #expect(
            try await ask(settlement, [doubt(1), doubt(2), doubt(4)]) == [
                SettledDoubt(token: 1, fate: .notStored), SettledDoubt(token: 2, fate: .stored),
                SettledDoubt(token: 4, fate: .uncertain),
            ])
        #expect(try await ask(settlement, [doubt(2)]) == [SettledDoubt(token: 2, fate: .stored)])
        #expect(fences.asked.flatMap { $0 }.count == 3)
        let statistics = settlement.statistics
        #expect(statistics.batches == [.notStored: 2, .stored: 4, .uncertain: 2])
        #expect(statistics.reportedBytes[.uncertain] == 100)
        settlement.stop()
    }

    @Test("while ClickHouse is away, questions wait; a block has the greatest age that an agent tells")
    func away() async throws {
        let fences = Fences()
        fences.setAway(true)
        let settlement = start(fences)
        async let first = ask(settlement, [doubt(1)])
        async let second = ask(settlement, [doubt(1, age: .seconds(90)), doubt(3)])
        try await eventually("both are asked for, in vain") {
            fences.asked.contains { $0.contains { $0.token == 1 && $0.age >= .seconds(90) } && $0.count == 2 }
        }
        fences.setAway(false)
        #expect(try await first == [SettledDoubt(token: 1, fate: .notStored)])
        #expect(try await second.map(\.token) == [1, 3])
        settlement.stop()
    }

    @Test("a block is not fenced before its own server asks for a fence") func minimumAge() async throws {
        let fences = Fences()
        let settlement = start(fences, minimumAge: .milliseconds(300))
        let begun = ContinuousClock.now
        #expect(try await ask(settlement, [doubt(1, age: .zero)]) == [SettledDoubt(token: 1, fate: .notStored)])
        #expect(ContinuousClock.now - begun >= .milliseconds(300))
        settlement.stop()
    }

    @Test("a block of another day or an older one is settled again, and a question without an agent is dropped")
    func keys() async throws {
        let fences = Fences()
        let settlement = start(fences)
        let other = Doubt(token: 2, day: 1, age: .seconds(1), batches: 1, reportedBytes: 1)
        for doubts in [[doubt(2)], [other], [doubt(2, age: .seconds(5))], [doubt(2, age: .seconds(60))]] {
            #expect(try await ask(settlement, doubts) == [SettledDoubt(token: 2, fate: .stored)])
        }
        #expect(fences.asked.map { $0.map(\.day) } == [[20_787], [1], [20_787]])
        fences.setAway(true)
        settlement.settle([doubt(5)], isWanted: { false }) { _ in Issue.record("a dropped question is answered") }
        fences.setAway(false)
        #expect(try await ask(settlement, [doubt(7)]) == [SettledDoubt(token: 7, fate: .notStored)])
        #expect(!fences.asked.contains { $0.contains { $0.token == 5 } })
        settlement.stop()
    }

    @Test("many blocks are settled in portions") func portions() async throws {
        let fences = Fences()
        let settlement = start(fences)
        let tokens = Array(1...200 as ClosedRange<UInt128>).filter { $0 != 4 }
        let settled = try await ask(settlement, tokens.map { doubt($0) })
        #expect(settled.map(\.token) == tokens)
        #expect(fences.asked.allSatisfy { $0.count <= 64 } && fences.asked.count == 4)
        settlement.stop()
    }
}
