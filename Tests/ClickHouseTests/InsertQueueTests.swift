// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowModel
import TestSupport
import Testing

@testable import ClickHouse

/// The states of a worker whose block has four rows.
private enum State: CaseIterable {
    case idle
    case encoding
    case inserting
    /// Inserting after an attempt of which the outcome is unknown.
    case insertingAgain
    case setAside
    /// Inserting after the batch was set aside for its size.
    case insertingResumed
    case searching
    case halving
    case waiting
    case verifying
    case waitingForVerdict
    /// Verifying a block that is announced and so old that another server may have fenced it.
    case verifyingFence
    case settling

    /// Whether the block is announced to agents.
    private var isAnnounced: Bool { self == .verifyingFence }

    /// The events that lead here from an idle worker.
    var path: [InsertQueueUnderTest.Event] {
        switch self {
        case .idle: []
        case .encoding: [.woken]
        case .inserting: State.encoding.path + [.encoded]
        case .insertingAgain: State.inserting.path + [.failed(.cut), .waited()]
        case .setAside: State.insertingAgain.path + [.failed(.tooLarge)]
        case .insertingResumed: State.setAside.path + [.woken]
        case .searching: State.insertingResumed.path + [.failed(.tooLarge)]
        case .halving: State.inserting.path + [.failed(.tooLarge)]
        case .waiting: State.inserting.path + [.failed(.busy)]
        case .verifying: State.insertingAgain.path + [.succeeded]
        case .waitingForVerdict: State.verifying.path + [.verified(.success(.loading))]
        case .verifyingFence: State.waiting.path + [.waited(), .succeeded]
        case .settling: State.inserting.path + [.succeeded]
        }
    }

    /// Returns a queue with one worker in this state.
    func reached() throws -> InsertQueueUnderTest {
        let test = try InsertQueueUnderTest()
        if self != .idle { test.submit(1, batches: [1, 1], token: isAnnounced ? 1 : nil) }
        for event in path {
            test.end(event)
            if test.action() == "set aside", self != .setAside {
                test.now += .seconds(60)
                test.fireTimers()
            }
        }
        return test
    }

    /// The name of the action in this state.
    var action: String {
        switch self {
        case .idle: "idle"
        case .encoding: "encode"
        case .inserting, .insertingAgain, .insertingResumed: "insert 4"
        case .setAside: "set aside"
        case .searching: "search 4"
        case .halving: "halve 4"
        case .waiting, .waitingForVerdict: "wait"
        case .verifying, .verifyingFence: "verify 4"
        case .settling: "settle"
        }
    }

    /// The events that can end the action, with the next action.
    var events: [(event: InsertQueueUnderTest.Event, next: String)] {
        let failures: [(InsertQueueUnderTest.Event, String)] = [
            .busy, .refused, .cut, .noTable, .refusedData, .brokenView, .slowly,
        ].map { (.failed($0), "wait") }
        switch self {
        case .idle, .setAside: return [(.woken, "idle")]
        case .encoding: return [(.encoded, "insert 4")]
        case .inserting: return failures + [(.succeeded, "settle"), (.failed(.tooLarge), "halve 4")]
        case .insertingAgain: return failures + [(.succeeded, "verify 4"), (.failed(.tooLarge), "set aside")]
        case .insertingResumed: return failures + [(.succeeded, "verify 4"), (.failed(.tooLarge), "search 4")]
        case .searching:
            return [(.searched(isExcluded: true), "halve 4"), (.searched(isExcluded: false), "set aside")]
        case .halving: return [(.halved, "insert 2")]
        case .waiting: return [(.waited(.zero), "wait"), (.waited(), "insert 4")]
        case .verifying, .verifyingFence:
            return [
                (.verified(.success(.stored)), "settle"), (.verified(.success(.missing)), "insert 4"),
                (.verified(.success(.fenced)), "settle"),
                (.verified(.success(.loading)), "wait"), (.verified(.failure(.busy)), "wait"),
                (.verified(.failure(.noTable)), "settle"),
            ]
        case .waitingForVerdict: return [(.waited(.zero), "wait"), (.waited(), "verify 4")]
        case .settling: return [(.settled, "idle")]
        }
    }
}

@Suite struct InsertQueueTests {
    // MARK: - Every event in every state

    @Test("each end of an action leads to the next action", arguments: State.allCases)
    private func workersEvents(state: State) throws {
        for (event, next) in state.events {
            let test = try state.reached()
            #expect(test.action() == state.action)
            #expect(test.end(event) == next, "after \(event)")
        }
    }

    @Test("a block that is submitted meanwhile changes no action, and is taken next", arguments: State.allCases)
    private func submission(state: State) throws {
        for (event, next) in state.events {
            let test = try state.reached()
            test.submit(2)
            #expect(test.action() == state.action)
            if state == .idle || state == .setAside {
                #expect(test.end(event) == "encode")
                continue
            }
            #expect(test.end(event) == next)
            #expect(test.taken == [1])
        }
    }

    @Test("only what no worker has taken can be withdrawn", arguments: State.allCases)
    private func withdrawal(state: State) throws {
        let test = try state.reached()
        test.submit(2, batches: [1, 1])
        let all = Set((1...2).flatMap { block in (0..<2).map { InsertQueueUnderTest.identity(block, $0) } })
        let expected = Set((0..<2).map { InsertQueueUnderTest.identity(2, $0) })
        #expect(test.withdraw(all) == expected)
        #expect(test.action() == state.action)
        #expect(test.queue.unsettledBlocks == (state == .idle ? 0 : 1))
        #expect(test.account.statistics.withdrawn.flows == 2)
        #expect(test.withdraw(all).isEmpty)
    }

    @Test("the end of an unknown wait changes nothing", arguments: State.allCases)
    private func unknownWait(state: State) throws {
        for (event, next) in state.events {
            let test = try state.reached()
            test.endSetAside(99)
            #expect(test.action() == state.action)
            #expect(test.end(event) == next)
        }
    }

    @Test("after the stop, a worker ends with its next event, or settles what is stored", arguments: State.allCases)
    private func stop(state: State) throws {
        for (event, next) in state.events {
            let test = try state.reached()
            let failures = test.queue.statistics.failedAttempts
            test.stop()
            #expect(test.action() == state.action)
            #expect(test.end(event) == (next == "settle" ? "settle" : "end"), "after \(event)")
            if next == "settle" {
                #expect(test.end(.settled) == "end")
                let account = test.account.statistics
                #expect(account.stored.rows + account.withdrawn.rows == 4)
            }
            #expect(test.queue.statistics.failedAttempts == failures)
        }
    }

    @Test("an event that does not match the worker's action ends the process")
    func mismatch() async {
        await #expect(processExitsWith: .failure) {
            let test = try InsertQueueUnderTest()
            test.submit(1)
            test.end([.woken, .succeeded])
        }
        await #expect(processExitsWith: .failure) {
            let test = try InsertQueueUnderTest()
            test.end(.settled)
        }
        await #expect(processExitsWith: .failure) {
            let test = try InsertQueueUnderTest()
            test.submit(1)
            test.end([.woken, .woken])
        }
    }

    // MARK: - Order

    @Test("blocks are taken in their order, and those that were set aside and are due go first")
    func order() throws {
        let test = try State.setAside.reached()
        for number in 2...4 { test.submit(number) }
        #expect(test.end([.woken, .encoded, .succeeded, .settled]) == "idle")
        #expect(test.taken == [1, 2])
        test.now += .seconds(3600)
        test.fireTimers()
        #expect(test.end(.woken) == "insert 4")
        #expect(test.end([.succeeded, .verified(.success(.stored)), .settled, .woken]) == "encode")
        #expect(test.taken == [1, 2, 3])
    }

    @Test("the parts of a block are sent from the first to the last, and the block is settled after the last")
    func parts() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1, batches: [4])
        test.end([.woken, .encoded, .failed(.tooLarge), .halved, .failed(.tooLarge), .halved])
        var (suffixes, whole): ([String], String?) = ([], nil)
        while case .insert(let batch) = test.steps[0].action {
            whole = whole ?? batch.token.components(before: "-0-0")
            suffixes.append(String(batch.token.dropFirst(whole?.count ?? 0)))
            #expect(test.settlements.isEmpty)
            // The second half is as large as the refused one, so it is halved without being sent.
            if case "halve 4" = test.end(.succeeded) { test.end(.halved) }
        }
        #expect(suffixes == ["-0-0", "-0-1", "-1-0", "-1-1"])
        #expect(test.end(.settled) == "idle")
        #expect(test.settlements[1]?.count == 1 && test.account.statistics.stored.rows == 8)
        #expect(test.account.statistics.stored.blocks == 4)
    }

    // MARK: - Settlement

    @Test("a block of which a part is rejected is settled as rejected, with the rest stored")
    func partlyRejected() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1, batches: [2])
        test.end([.woken, .encoded, .failed(.tooLarge), .halved, .failed(.refusedData), .waited()])
        #expect(test.end(.failed(.refusedData)) == "insert 2")
        #expect(test.end([.succeeded, .settled]) == "idle")
        #expect(test.settlements[1]?.map(\.outcome) == [.rejected(reason: "refused_data")])
        #expect(test.account.statistics.stored.rows == 2)
        #expect(test.account.statistics.rejected["refused_data"]?.rows == 2)
        #expect(test.account.statistics.queuedBytes == 0 && test.queue.unsettledBlocks == 0)
    }

    @Test("a settlement names the batches that were withdrawn before")
    func withdrawnBatches() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1, batches: [1, 1])
        let batch = InsertQueueUnderTest.identity(1, 0)
        #expect(test.withdraw([batch]) == [batch])
        #expect(test.end([.woken, .encoded]) == "insert 2")
        test.end([.succeeded, .settled])
        #expect(test.settlements[1]?.map(\.withdrawn) == [[batch]])
    }

    @Test("a worker that was woken for a withdrawn block stays idle")
    func wokenForNothing() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1)
        _ = test.withdraw([InsertQueueUnderTest.identity(1, 0)])
        #expect(test.available == 1 && test.end(.woken) == "idle")
        #expect(test.queue.unsettledBlocks == 0 && test.settlements.isEmpty)
        #expect(test.account.statistics.queuedBytes == 0)
    }

    // MARK: - Rejections

    @Test("three batches are rejected in a row, then rows are kept until an insert succeeds")
    func rejectionsInARow() throws {
        let test = try InsertQueueUnderTest()
        for number in 1...5 { test.submit(number) }
        for _ in 1...3 {
            test.end([.woken, .encoded, .failed(.refusedData), .waited()])
            #expect(test.end(.failed(.refusedData)) == "settle")
            test.end(.settled)
        }
        test.end([.woken, .encoded])
        for _ in 0..<20 {
            #expect(test.end(.failed(.refusedData)) == "wait")
            test.end(.waited())
        }
        #expect(test.queue.statistics.operatorError?.contains("117") == true)
        test.end([.succeeded, .settled, .woken, .encoded, .failed(.refusedData), .waited()])
        #expect(test.end(.failed(.refusedData)) == "settle")
        #expect(test.account.statistics.rejected["refused_data"]?.blocks == 4)
    }

    @Test("two workers that fail at once do not exceed the rejections in a row")
    func concurrentRejections() throws {
        let test = try InsertQueueUnderTest(workers: 5)
        for worker in 0..<5 {
            test.submit(worker)
            test.end(.woken, of: worker)
            test.end(.encoded, of: worker)
            test.end(.failed(.refusedData), of: worker)
            test.end(.waited(), of: worker)
        }
        let actions = (0..<5).map { test.end(.failed(.refusedData), of: $0) }
        #expect(actions == ["settle", "settle", "settle", "wait", "wait"])
    }

    // MARK: - Back-off

    @Test("the waits grow to their maximum, and the next block starts with the shortest")
    func backoff() throws {
        let test = try InsertQueueUnderTest()
        for number in 1...2 {
            test.submit(number)
            test.end([.woken, .encoded])
            var bound = Duration.milliseconds(100)
            for _ in 0..<12 {
                test.end(.failed(.busy))
                let wait = try #require(test.wait)
                #expect(wait >= bound * 0.1 && wait <= bound)
                #expect(test.end(.waited(wait - .nanoseconds(1))) == "wait")
                #expect(test.end(.waited(.nanoseconds(1))) == "insert 2")
                bound = min(bound * 2, .seconds(10))
            }
            #expect(test.end([.succeeded, .settled]) == "idle")
        }
    }

    @Test("failures that need an operator are retried slowly and are a problem until a success")
    func slowBackoff() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1)
        test.end([.woken, .encoded, .failed(.noTable)])
        #expect(try #require(test.wait) >= .seconds(2))
        #expect(test.queue.statistics.problem(oldestWait: .zero)?.contains("no table") == true)
        test.end([.waited(), .succeeded])
        #expect(test.queue.statistics.problem(oldestWait: .zero) == nil)
    }

    @Test("the delay that a proxy asks for is kept, whatever others achieve")
    func askedWait() throws {
        let test = try InsertQueueUnderTest(workers: 2)
        for worker in 0..<2 {
            test.submit(worker)
            test.end(.woken, of: worker)
            test.end(.encoded, of: worker)
        }
        test.end(.failed(.slowly))
        #expect(try #require(test.wait) == .seconds(7))
        test.end(.succeeded, of: 1)
        #expect(test.woken.isEmpty && test.end(.waited(.seconds(6))) == "wait")
        #expect(test.end(.waited(.seconds(1))) == "insert 2")
    }

    @Test("a success ends two waits, those of the workers that have waited longest")
    func successEndsWaits() throws {
        let test = try InsertQueueUnderTest(workers: 5)
        for worker in 0..<5 {
            test.submit(worker)
            test.end(.woken, of: worker)
            test.end(.encoded, of: worker)
        }
        for worker in [3, 1, 4, 0] { test.end(.failed(.busy), of: worker) }
        test.end(.succeeded, of: 2)
        #expect(test.woken == [3, 1])
        #expect(test.end(.waited(.zero), of: 3) == "insert 2" && test.end(.waited(.zero), of: 1) == "insert 2")
        #expect(test.end(.waited(.zero), of: 4) == "wait")
    }

    @Test("every endpoint is tried before a wait, and each wait begins with the next one")
    func endpoints() throws {
        let test = try InsertQueueUnderTest(endpoints: 3)
        test.submit(1)
        test.end([.woken, .encoded])
        for _ in 0..<2 {
            #expect(test.end(.failed(.busy)) == "insert 2" && test.end(.failed(.refused)) == "insert 2")
            #expect(test.end(.failed(.busy)) == "wait")
            test.end(.waited())
        }
        #expect(test.moves == [6])
        #expect(test.queue.statistics.endpoints.map(\.failures) == [2, 2, 2])
    }

    // MARK: - Sizes

    @Test("a single row that is too large is rejected like other data")
    func singleRow() throws {
        let test = try InsertQueueUnderTest()
        test.submit(1)
        test.end([.woken, .encoded, .failed(.tooLarge), .halved])
        #expect(test.end(.failed(.tooLarge)) == "wait")
        test.end(.waited())
        #expect(test.end(.failed(.tooLarge)) == "insert 1")
        #expect(test.end(.succeeded) == "settle")
        #expect(test.account.statistics.rejected["too_large"]?.rows == 1)
    }

    @Test("a limit on sizes is remembered, and probed by one worker at a time")
    func probes() throws {
        let test = try InsertQueueUnderTest(workers: 2)
        test.submit(0, batches: [2])
        test.end([.woken, .encoded, .failed(.tooLarge), .halved, .succeeded, .succeeded, .settled])
        func next(_ number: Int, _ worker: Int) -> String {
            test.submit(number, batches: [2])
            test.end(.woken, of: worker)
            return test.end(.encoded, of: worker)
        }
        #expect(next(1, 0) == "halve 4")
        test.end([.halved, .succeeded, .succeeded, .settled])
        test.now += .seconds(60)
        #expect(next(2, 0) == "insert 4" && next(3, 1) == "halve 4")
        // The probe fails, and the next one is due a minute later.
        #expect(test.end(.failed(.tooLarge)) == "halve 4")
        test.end([.halved, .succeeded, .succeeded, .settled])
        #expect(next(4, 0) == "halve 4")
        test.end([.halved, .succeeded, .succeeded, .settled])
        test.now += .seconds(60)
        #expect(next(5, 0) == "insert 4")
        // The probe succeeds: the limit is gone.
        test.end([.succeeded, .settled])
        #expect(next(6, 0) == "insert 4")
    }

    @Test("a batch that may be stored is set aside for at most 15 minutes, and its doubling is counted")
    func doubling() throws {
        let test = try State.setAside.reached()
        #expect(test.account.statistics.oldestWait == nil && test.account.statistics.oldestAge != nil)
        test.now += .seconds(899)
        test.fireTimers()
        test.end([.woken, .failed(.tooLarge)])
        #expect(test.end(.searched(isExcluded: false)) == "set aside")
        test.now += .seconds(900)
        test.fireTimers()
        test.end([.woken, .failed(.tooLarge)])
        #expect(test.end(.searched(isExcluded: false)) == "halve 4")
        #expect(test.queue.statistics.possiblyDoubled.rows == 4)
        #expect(test.notices.contains { if case .possiblyDoubled = $0 { true } else { false } })
        #expect(test.end([.halved, .succeeded, .succeeded, .settled]) == "idle")
    }

    @Test("with several endpoints, no part is searched: another one may have it")
    func severalEndpoints() throws {
        let test = try InsertQueueUnderTest(endpoints: 2)
        test.submit(1)
        test.end([.woken, .encoded, .failed(.cut), .failed(.tooLarge)])
        #expect(test.action() == "set aside")
        test.now += .seconds(100)
        test.fireTimers()
        #expect(test.end([.woken, .failed(.tooLarge)]) == "insert 2")
        #expect(test.end(.failed(.cut)) == "set aside")
    }

    // MARK: - Views

    @Test("once a view has failed for too long, other batches are sent without it at once, until all views work")
    func views() throws {
        let test = try InsertQueueUnderTest { $0.viewLimits.broken = .seconds(300) }
        for number in 1...4 { test.submit(number) }
        test.end([.woken, .encoded, .failed(.brokenView), .waited(.seconds(299))])
        #expect(test.end(.failed(.brokenView)) == "wait")
        test.end(.waited(.seconds(100)))
        #expect(test.end(.failed(.brokenView)) == "insert 2")
        guard case .insert(let batch) = test.steps[0].action else { return }
        #expect(batch.ignoresViewErrors && batch.isWithoutViews)
        #expect(test.notices.contains { if case .leftOut("d.v", _) = $0 { true } else { false } })
        test.end([.succeeded, .settled, .woken, .encoded])
        #expect(test.queue.statistics.withoutViews.rows == 2)
        #expect(test.end(.failed(.brokenView)) == "insert 2")
        // The warning is not repeated within the hour.
        #expect(test.notices.count { if case .leftOut = $0 { true } else { false } } == 1)
        test.end([.succeeded, .settled, .woken, .encoded, .succeeded, .settled, .woken, .encoded])
        #expect(test.end(.failed(.brokenView)) == "wait")
    }

    // MARK: - Checks after a crash

    @Test("a batch whose token is there without its rows is sent under another token")
    func rescue() throws {
        let test = try State.insertingAgain.reached()
        guard case .insert(let batch) = test.steps[0].action else { return }
        test.end([.succeeded, .verified(.success(.missing))])
        guard case .insert(let next) = test.steps[0].action else { return }
        #expect(next.token != batch.token && next.body.bytes == batch.body.bytes)
        #expect(test.queue.statistics.rescuedBatches == 1)
        // The outcomes of the attempts with the earlier token no longer matter.
        #expect(test.end(.succeeded) == "settle")
        #expect(test.queue.statistics.batchRows.count == 1)
    }

    @Test("a ClickHouse that goes on loading is asked once a second, thirty times, and then believed")
    func endlessLoading() throws {
        let test = try State.verifying.reached()
        for _ in 0..<29 {
            test.end(.verified(.success(.loading)))
            #expect(test.wait == .seconds(1) && test.end(.waited(.seconds(1))) == "verify 4")
        }
        test.end(.verified(.failure(.busy)))
        #expect(test.end(.waited(.seconds(1))) == "settle")
        let problems = test.notices.compactMap { if case .unverified(_, _, let problem) = $0 { problem } else { nil } }
        #expect(problems.count == 1 && problems[0].contains("too many parts"))
    }

    // MARK: - Log lines

    @Test("failures for one reason are logged every ten seconds, and the recovery once")
    func notices() throws {
        let test = try InsertQueueUnderTest(workers: 3)
        for worker in 0..<3 {
            test.submit(worker)
            test.end(.woken, of: worker)
            test.end(.encoded, of: worker)
        }
        for worker in 0..<3 { test.end(.failed(.busy), of: worker) }
        #expect(test.notices.count == 1)
        test.end(.waited(.seconds(10)))
        test.end(.failed(.busy))
        #expect(test.notices.count == 2)
        test.end(.waited(.seconds(100)), of: 1)
        test.end(.failed(.refused), of: 1)
        test.end(.waited(.zero), of: 2)
        test.end(.succeeded, of: 2)
        #expect(test.notices.count == 4)
        guard case .recovered = test.notices[3] else { return #expect(Bool(false), "the recovery is not logged") }
        test.end(.waited(.zero))
        test.end(.succeeded)
        #expect(test.notices.count == 4)
    }
}

extension InsertQueueUnderTest {
    /// The time that the first worker waits; nil if it does not.
    fileprivate var wait: Duration? { if case .wait(let end) = steps[0].action { end - now } else { nil } }
}

extension String {
    /// Returns the text before a suffix; nil without the suffix.
    fileprivate func components(before suffix: String) -> String? {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil
    }
}
