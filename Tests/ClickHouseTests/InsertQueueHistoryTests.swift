// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowModel
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

/// A ClickHouse behind a proxy, with a deduplication window: it stores a token once, and fails in every way.
private struct FakeClickHouse {
    /// The rows stored, by token.
    private(set) var stored: [String: Int] = [:]
    /// The tokens logged by a ClickHouse that was killed before it committed the rows.
    private var ghosts: Set<String> = []
    /// The tokens that other servers have fenced.
    private(set) var fenced: Set<String> = []
    /// The size in bytes above which the proxy rejects bodies of several rows.
    var limit = Int.max
    /// Whether a view fails for every batch.
    var hasBrokenView = false
    /// Whether every insert succeeds.
    var isMended = false

    /// Handles an insert; returns its error, or nil if it succeeds.
    mutating func insert(
        _ batch: InsertBatch, isRefused: Bool, using generator: inout SeededGenerator
    ) -> ClickHouseError? {
        if batch.rows > 1, batch.body.bytes.count > limit { return .tooLarge }
        let failure: ClickHouseError? = hasBrokenView && !batch.ignoresViewErrors ? .brokenView : nil
        if stored[batch.token] != nil || ghosts.contains(batch.token) || fenced.contains(batch.token) { return failure }
        let draw = isMended ? 0 : Int.random(in: 0..<100, using: &generator)
        switch draw {
        case 50..<60: return .busy
        case 60..<66: return .cut
        case 66..<72:
            ghosts.insert(batch.token)
            return .cut
        case 72..<77: return .refused
        case 77..<80: return .noTable
        case 80..<84: return .slowly
        default: break
        }
        if isRefused, !isMended { return .refusedData }
        stored[batch.token] = batch.rows
        return (84..<92).contains(draw) ? .cut : failure
    }

    /// Lets another server fence a token.
    mutating func fence(_ token: String) {
        if stored[token] == nil, !ghosts.contains(token) { fenced.insert(token) }
    }

    /// Answers whether a batch is stored that is reported as such.
    func verdict(
        _ batch: InsertBatch, _ check: StoredCheck, using generator: inout SeededGenerator
    ) -> Result<StoredCheck.Verdict, ClickHouseError> {
        switch isMended ? 9 : Int.random(in: 0..<10, using: &generator) {
        case 0: .success(.loading)
        case 1: .failure(.busy)
        default:
            if check.mayBeFenced, fenced.contains(batch.token) {
                .success(.fenced)
            } else {
                .success(has(batch) ? .stored : .missing)
            }
        }
    }

    func has(_ batch: InsertBatch) -> Bool { stored[batch.token] != nil }
}

/// A random history of a queue and its workers, which checks every step.
private final class History {
    let test: InsertQueueUnderTest
    private var clickHouse = FakeClickHouse()
    private var generator: SeededGenerator
    /// Blocks that no worker has taken, in their order, with the flows of their batches.
    private var waiting: [(number: Int, batches: [Int: Int])] = []
    private var submitted: [Int: [Int: Int]] = [:]
    private var withdrawn: [Int: Set<Int>] = [:]
    /// Blocks that were announced and of which an agent has left.
    private var departed: Set<Int> = []
    private var rejectedInARow = 0
    private var seenOutcomes = 0
    private(set) var problem: String?

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        test = try InsertQueueUnderTest(
            workers: Int.random(in: 1...4, using: &generator), endpoints: Int.random(in: 1...2, using: &generator),
            seed: seed
        ) {
            $0.slowBackoff = Backoff(initial: .seconds(1), maximum: .seconds(20))
            $0.viewLimits.broken = .seconds(5)
            $0.sizeRefusals.probeInterval = .seconds(10)
            $0.sizeRefusals.longestSetAside = .seconds(60)
        }
    }

    private func draw(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }

    /// Lets something happen: a caller's event, a change of the world, or the end of a worker's action.
    func advance() {
        switch draw(20) {
        case 0 where submitted.count < 40: submit()
        case 1 where draw(3) == 0: withdraw()
        case 2, 3:
            test.now += .milliseconds(draw(20_000))
            test.fireTimers()
        case 4: clickHouse.hasBrokenView = draw(3) == 0
        case 5: clickHouse.limit = draw(3) == 0 ? 1_500 + draw(3_000) : .max
        case 6: fence()
        default: _ = work(draw(test.steps.count))
        }
    }

    /// Lets every insert succeed from now on, until nothing is left to do.
    func mend() {
        (clickHouse.isMended, clickHouse.hasBrokenView, clickHouse.limit) = (true, false, .max)
        while problem == nil {
            if test.steps.indices.filter({ work($0) }).isEmpty {
                let waits = test.steps.compactMap { if case .wait(let end) = $0.action { end } else { nil } }
                guard let next = (waits + test.timers.values).min() else { return }
                test.now = max(test.now, next)
                test.fireTimers()
            }
        }
    }

    /// Stops the queue, and returns the number of events after which all workers have ended.
    func stop() -> Int {
        test.stop()
        var events = 0
        for worker in test.steps.indices {
            while test.action(worker) != "end", events < 100 {
                guard work(worker) else {
                    problem = "worker \(worker) goes on with \(test.action(worker))"
                    return events
                }
                events += 1
            }
        }
        return events
    }

    private func submit() {
        let number = submitted.count
        let batches = (0...draw(3)).map { _ in 1 + draw(8) }
        let flows = Dictionary(uniqueKeysWithValues: batches.enumerated().map { ($0.offset, $0.element) })
        submitted[number] = flows
        waiting.append((number, flows))
        test.submit(number, batches: batches, token: Self.isAnnounced(number) ? UInt128(number + 1) : nil)
    }

    private static func isAnnounced(_ block: Int) -> Bool { block.isMultiple(of: 2) }

    /// Lets another server fence a block of which an agent has left, or that is old enough for its agents to leave.
    private func fence() {
        let number = draw(max(1, submitted.count))
        guard Self.isAnnounced(number), let begun = test.numbers.first(where: { $0.value == number })?.key,
            departed.contains(number) || test.now - begun > .seconds(InsertQueue.safeAge)
        else { return }
        clickHouse.fence(DeduplicationToken.text(of: UInt128(number + 1)))
    }

    private func withdraw() {
        let asked = (0...draw(4)).map { _ in (block: draw(max(1, submitted.count)), batch: draw(4)) }
        var expected: Set<BatchIdentity> = []
        for (block, batch) in asked {
            if Self.isAnnounced(block) {
                if submitted[block]?[batch] != nil { departed.insert(block) }
                continue
            }
            guard let index = waiting.firstIndex(where: { $0.number == block }),
                waiting[index].batches.removeValue(forKey: batch) != nil
            else { continue }
            expected.insert(InsertQueueUnderTest.identity(block, batch))
            withdrawn[block, default: []].insert(batch)
            if waiting[index].batches.isEmpty { waiting.remove(at: index) }
        }
        let removed = test.withdraw(Set(asked.map { InsertQueueUnderTest.identity($0.block, $0.batch) }))
        if removed != expected { problem = "withdrawn: \(removed.count) of \(expected.count) batches" }
    }

    /// Ends the action of a worker; returns false if it goes on.
    private func work(_ worker: Int) -> Bool {
        guard let event = event(of: worker) else { return false }
        let taken = test.taken.count
        test.end(event, of: worker)
        if test.taken.count > taken {
            let expected = waiting.isEmpty ? nil : waiting.removeFirst().number
            if test.taken.last != expected { problem = "a block is taken out of order" }
        }
        check()
        return true
    }

    private func event(of worker: Int) -> InsertQueueUnderTest.Event? {
        switch test.steps[worker].action {
        case .idle, .setAside: return test.available > 0 ? .woken : nil
        case .encode: return .encoded
        case .insert(let batch):
            let number = test.numbers[batch.begun] ?? 0
            if let error = clickHouse.insert(batch, isRefused: number % 5 == 4, using: &generator) {
                return .failed(error)
            }
            return departed.contains(number) ? .succeededAtRisk : .succeeded
        case .verify(let batch, let check):
            return .verified(clickHouse.verdict(batch, check, using: &generator))
        case .searchPart(let batch, _): return .searched(isExcluded: !clickHouse.has(batch))
        case .halve: return .halved
        case .wait(let end): return end <= test.now || test.woken.contains(worker) ? .waited(.zero) : nil
        case .settle: return .settled
        case .end: return nil
        }
    }

    /// Checks what holds after every step.
    private func check() {
        for outcome in test.outcomes[seenOutcomes...] {
            if case .rejected = outcome { rejectedInARow += 1 } else { rejectedInARow = 0 }
            if rejectedInARow > Inserter.maximumRejectionsInARow { problem = "too many rejections in a row" }
        }
        seenOutcomes = test.outcomes.count
        let account = test.account.statistics
        if account.queuedBlocks != test.queue.unsettledBlocks { problem = "the account has other blocks" }
        if account.queuedBytes < 0 || (account.queuedBlocks == 0 && account.queuedBytes > 0) {
            problem = "\(account.queuedBytes) bytes are held by \(account.queuedBlocks) blocks"
        }
        if test.settlements.values.contains(where: { $0.count > 1 }) { problem = "a block is settled twice" }
    }

    /// Checks what holds once nothing is left to do.
    func checkEnd() {
        let (account, statistics) = (test.account.statistics, test.queue.statistics)
        #expect(account.queuedBlocks == 0 && account.queuedBytes == 0 && account.queuedRows == 0)
        #expect(account.pendingFlows == 0 && test.available == 0)
        let rejected = account.rejected.values.reduce(into: BlockAmount()) { $0 += $1 }
        let flows = submitted.values.flatMap(\.values).reduce(0, +)
        #expect(account.stored.flows + rejected.flows + account.withdrawn.flows == UInt64(flows))
        for (number, batches) in submitted {
            let gone = withdrawn[number] ?? []
            let settlements = test.settlements[number] ?? []
            #expect(settlements.count == (gone.count == batches.count ? 0 : 1), "block \(number)")
            for settlement in settlements {
                let identities = Set(
                    (settlement.isVoid ? Set(batches.keys) : gone).map { InsertQueueUnderTest.identity(number, $0) })
                #expect(settlement.withdrawn == identities)
                #expect(!settlement.isVoid || Self.isAnnounced(number))
            }
        }
        // Every row that counts as stored is in the table: once, or twice where that is counted.
        let rows = UInt64(clickHouse.stored.values.reduce(0, +))
        #expect(rows >= account.stored.rows && rows <= account.stored.rows + statistics.possiblyDoubled.rows)
    }
}

@Suite struct InsertQueueHistoryTests {
    @Test("whatever happens, each block is settled once, its rows are stored once, and no memory stays held")
    func allAreSettled() throws {
        var (split, rescued, rejected, tooLarge, doubled, leftOut, void) = (0, 0, 0, 0, 0, 0, 0)
        for seed in 0..<80 as Range<UInt64> {
            let history = try History(seed: seed)
            for _ in 0..<800 where history.problem == nil { history.advance() }
            history.mend()
            #expect(history.problem == nil, "seed \(seed)")
            history.checkEnd()
            let (account, statistics) = (history.test.account.statistics, history.test.queue.statistics)
            split += history.test.outcomes.count - history.test.settlements.count
            rescued += Int(statistics.rescuedBatches)
            rejected += account.rejected.count
            tooLarge += Int(statistics.failedAttempts["too_large", default: 0])
            doubled += Int(statistics.possiblyDoubled.blocks)
            leftOut += Int(statistics.withoutViews.blocks)
            void += Int(statistics.voidBlocks)
            let settledAsVoid = history.test.settlements.values.joined().count { $0.isVoid }
            #expect(settledAsVoid == Int(statistics.voidBlocks))
        }
        // The histories reach what they are about.
        for count in [split, rescued, rejected, tooLarge, doubled, leftOut, void] { #expect(count > 0) }
    }

    @Test("after the stop, each worker ends within three events, whatever it does")
    func stopEnds() throws {
        for seed in 0..<80 as Range<UInt64> {
            let history = try History(seed: seed)
            for _ in 0..<Int(seed) * 8 { history.advance() }
            let (taken, failures) = (history.test.taken, history.test.queue.statistics.failedAttempts)
            #expect(history.stop() <= 3 * history.test.steps.count, "seed \(seed)")
            #expect(history.problem == nil, "seed \(seed)")
            #expect(history.test.taken == taken && history.test.queue.statistics.failedAttempts == failures)
        }
    }
}
