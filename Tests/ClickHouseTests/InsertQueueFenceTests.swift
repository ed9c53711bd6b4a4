// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowModel
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

/// A block that is announced to agents may have been fenced by another server, although ClickHouse reports it as stored.
@Suite struct InsertQueueFenceTests {
    /// Returns the batches of block 1.
    private static func batches(_ count: Int) -> Set<BatchIdentity> {
        Set((0..<count).map { InsertQueueUnderTest.identity(1, $0) })
    }

    /// Returns a queue whose worker inserts an announced block of four rows.
    private static func inserting(hasFences: Bool = true) throws -> InsertQueueUnderTest {
        let test = try InsertQueueUnderTest(hasFences: hasFences)
        test.submit(1, batches: [1, 1], token: 7)
        test.end([.woken, .encoded])
        return test
    }

    @Test("a young block whose agents are connected is believed to be stored")
    func young() throws {
        let test = try Self.inserting()
        guard case .insert(let batch) = test.steps[0].action else { return }
        #expect(batch.token == "00000000-0000-0000-0000-000000000007")
        test.now += .seconds(InsertQueue.safeAge)
        test.second += UInt32(InsertQueue.safeAge)
        #expect(test.end(.succeeded) == "settle")
    }

    @Test("an old block is asked about, by either clock", arguments: [(5, 0), (0, 5)] as [(Int, UInt32)])
    func old(seconds: Int, wallClock: UInt32) throws {
        let test = try Self.inserting()
        test.now += .seconds(seconds)
        test.second += wallClock
        #expect(test.end(.succeeded) == "verify 4")
        guard case .verify(_, let check) = test.steps[0].action else { return }
        #expect(check.mayBeFenced && check.crash.openSince == nil)
        #expect(test.end([.verified(.success(.stored)), .settled]) == "idle")
        #expect(test.settlements[1]?.map(\.isVoid) == [false] && test.account.statistics.stored.rows == 4)
    }

    @Test("a wall clock that is set back does not matter")
    func wallClockSetBack() throws {
        let test = try Self.inserting()
        test.second -= 3600
        #expect(test.end(.succeeded) == "settle")
    }

    @Test("a block is not asked about if it is not announced, or if there are no fences")
    func notAnnounced() throws {
        let plain = try InsertQueueUnderTest()
        plain.submit(1, batches: [1, 1])
        plain.end([.woken, .encoded])
        let without = try Self.inserting(hasFences: false)
        for test in [plain, without] {
            test.now += .seconds(60)
            #expect(test.end(.succeeded) == "settle")
        }
    }

    @Test("a block of which an agent has gone is asked about, and keeps that agent's batches")
    func departure() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1, batches: [1, 1], token: 7)
        #expect(test.withdraw([InsertQueueUnderTest.identity(1, 1)]).isEmpty)
        #expect(test.queue.unsettledBlocks == 1 && test.account.statistics.withdrawn.flows == 0)
        #expect(test.end([.woken, .encoded, .succeededAtRisk]) == "verify 4")
    }

    @Test("a fenced block is void: its settlement names all batches as withdrawn, and its rows do not count as stored")
    func void() throws {
        let test = try Self.inserting()
        test.end([.succeededAtRisk, .verified(.success(.fenced))])
        #expect(test.action() == "settle" && test.account.statistics.queuedRows > 0)
        test.end(.settled)
        #expect(test.settlements[1]?.map(\.isVoid) == [true])
        #expect(test.settlements[1]?.map(\.withdrawn) == [Self.batches(2)])
        let account = test.account.statistics
        #expect(account.stored == BlockAmount() && account.withdrawn.flows == 2 && account.withdrawn.rows == 4)
        #expect(account.withdrawn.blocks == 0 && account.pendingFlows == 0 && account.pendingBytes == 0)
        #expect(account.queuedBytes == 0 && account.queuedRows == 0 && account.queuedBlocks == 0)
        let statistics = test.queue.statistics
        #expect(statistics.voidBlocks == 1 && statistics.batchRows.count == 0)
        #expect(test.notices.contains { if case .fenced = $0 { true } else { false } })
    }

    @Test("the line about fenced blocks is logged once an hour")
    func notice() throws {
        let test = try InsertQueueUnderTest()
        for number in 1...3 {
            test.submit(number, token: UInt128(number))
            test.end([.woken, .encoded, .succeededAtRisk, .verified(.success(.fenced)), .settled])
            if number == 2 { test.now += .seconds(3600) }
        }
        #expect(test.queue.statistics.voidBlocks == 3)
        #expect(test.notices.count { if case .fenced = $0 { true } else { false } } == 2)
    }

    @Test("a block that was sent again under another token, or in halves, is not asked about")
    func otherTokens() throws {
        let rescued = try Self.inserting()
        rescued.end([.failed(.cut), .waited(), .succeeded, .verified(.success(.missing))])
        #expect(rescued.end(.succeeded) == "settle")
        let halved = try Self.inserting()
        halved.now += .seconds(60)
        halved.end([.failed(.tooLarge), .halved, .succeeded])
        #expect(halved.end(.succeeded) == "settle")
    }

    @Test("one question covers a crash and a fence")
    func crashAndFence() throws {
        let test = try Self.inserting()
        test.end([.failed(.cut), .waited(.seconds(60)), .succeeded])
        guard case .verify(_, let check) = test.steps[0].action else { return #expect(Bool(false), "not verified") }
        #expect(check.mayBeFenced && check.crash.openSince != nil)
        test.end([.verified(.failure(.busy)), .waited(.seconds(1))])
        #expect(test.action() == "verify 4")
        #expect(test.end(.verified(.success(.fenced))) == "settle")
    }

    @Test("if ClickHouse cannot be asked, its report is believed, with a warning")
    func unanswered() throws {
        let test = try Self.inserting()
        test.now += .seconds(60)
        test.end([.succeeded, .verified(.failure(.noTable)), .settled])
        #expect(test.account.statistics.stored.rows == 4 && test.settlements[1]?.map(\.isVoid) == [false])
        let checks = test.notices.compactMap { if case .unverified(_, let check, _) = $0 { check } else { nil } }
        #expect(checks.map(\.mayBeFenced) == [true])
    }
}
