// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

/// A success of one thread ends the waits of others.
@Suite struct InserterRecoveryTests {
    /// Delays that would outlast any test.
    private static let anHour = Backoff(initial: .seconds(3600), maximum: .seconds(3600))

    @Test("a successful insert ends the waits of all threads") func theFirstSuccessEndsTheWaitsOfAll() async throws {
        let waiting = 9
        let server = try RawHTTPServer { _, number in
            number < waiting
                ? .clickHouse(500, headers: ["X-ClickHouse-Exception-Code: 242"], "Code: 242.") : .clickHouse(200)
        }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [server.url]), workers: waiting + 1
        ) { $0.backoff = Self.anHour }
        for number in 0..<waiting { test.submit(number) }
        try await eventually("all attempts have failed") {
            test.inserter.statistics.failedAttempts["exception"] == UInt64(waiting)
        }
        test.submit(waiting)
        try await eventually("all blocks are stored") { test.completed == Array(0...waiting) }
        _ = await test.inserter.drain(timeout: .zero)
    }

    @Test(
        "an unreachable ClickHouse is probed during waits of any length",
        arguments: [RawHTTPServer.Answer.hangUp, .status(503, "no server is available")])
    func whoIsNotReachedIsAskedNowAndThenHoweverLongTheWaits(answer: RawHTTPServer.Answer) async throws {
        let isBack = Mutex(false)
        let server = try RawHTTPServer { _, _ in isBack.withLock { $0 } ? .clickHouse(200) : answer }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [server.url]), workers: 5) {
            $0.backoff = Self.anHour
        }
        for number in 0..<5 { test.submit(number) }
        // Each of the five batches has failed once, and one has been retried.
        try await eventually("a thread retries") { server.requests.count >= 6 }
        isBack.withLock { $0 = true }
        try await eventually("all blocks are stored") { test.completed == Array(0..<5) }
        _ = await test.inserter.drain(timeout: .zero)
    }

    @Test("a delay asked for by Retry-After is kept although other inserts succeed")
    func whatAnEndpointAsksForIsKeptWhateverOthersLearn() async throws {
        let times = Mutex<[ContinuousClock.Instant]>([])
        let asked = Mutex<String?>(nil)
        let server = try RawHTTPServer { request, number in
            let token = request.parameter("insert_deduplication_token")
            if number == 0 { asked.withLock { $0 = token } }
            guard asked.withLock({ $0 == token }) else { return .clickHouse(200) }
            times.withLock { $0.append(.now) }
            return number == 0 ? .status(429, headers: ["Retry-After: 2"], "slowly") : .clickHouse(200)
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [server.url]), workers: 2)
        test.submit(0)
        try await eventually("the first attempt has failed") { test.inserter.statistics.failedAttempts.count == 1 }
        test.submit(1)
        try await eventually("the second block is stored") { test.completed.contains(1) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        let (first, second) = try times.withLock { (try #require($0.first), try #require($0.dropFirst().first)) }
        #expect(second - first >= .seconds(2))
    }

    @Test("a drain without time ends every wait and every thread") func givingUpEndsEveryWait() async throws {
        weak var inserter: Inserter?
        do {
            let test = try InserterUnderTest(
                ClickHouseClient.Configuration(endpoints: [try RawHTTPServer.closedURL()]), workers: 3
            ) { $0.backoff = Self.anHour }
            for number in 0..<3 { test.submit(number) }
            try await eventually("all attempts have failed") {
                test.inserter.statistics.failedAttempts["connection", default: 0] >= 3
            }
            #expect(await test.inserter.drain(timeout: .zero) == 6)
            inserter = test.inserter
        }
        try await eventually("the inserter's threads have ended") { inserter == nil }
    }

    // MARK: - Failures that need an operator

    @Test("a transient failure is not reported as a problem") func aFailureThatMayPassIsNoProblem() async throws {
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [try RawHTTPServer.closedURL()]))
        test.submit(1)
        try await eventually("the first attempt has failed") { test.inserter.statistics.lastError != nil }
        // On a slow machine, the block's wait alone may be long enough for a problem.
        #expect(test.inserter.statistics.problem(oldestWait: .zero) == nil)
        _ = await test.inserter.drain(timeout: .zero)
    }

    @Test("a wait of more than 30 s is reported as a problem, with the last error")
    func rowsThatHaveWaitedForHalfAMinuteAreAProblem() {
        var statistics = Inserter.Statistics()
        statistics.lastError = "ClickHouse is busy"
        #expect(statistics.problem(oldestWait: nil) == nil)
        #expect(statistics.problem(oldestWait: .seconds(30)) == nil)
        let tooLong = Duration.milliseconds(31_500)
        #expect(statistics.problem(oldestWait: tooLong) == "the oldest batch has waited for 31 s: ClickHouse is busy")
        statistics.lastError = nil
        #expect(
            statistics.problem(oldestWait: tooLong)
                == "the oldest batch has waited for 31 s: ClickHouse has not answered yet")
    }

    @Test("a missing table is reported as a problem until it is back")
    func aTableThatIsGoneIsAProblemUntilItIsBack() async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database))
        try await database.query("RENAME TABLE network_flows_0 TO elsewhere")
        test.submit(1)
        try await eventually("the sink reports a problem") { test.inserter.load.problem != nil }
        let problem = try #require(test.inserter.load.problem)
        #expect(problem.hasPrefix("ClickHouse needs operator action: ClickHouse responded with exception 60"))
        try await database.query("RENAME TABLE elsewhere TO network_flows_0")
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.inserter.load.problem == nil)
    }

    @Test("an endpoint that needs an operator is no problem while another one works")
    func anEndpointThatNeedsOperatorIsNoProblemWhileAnotherWorks() async throws {
        let locked = try RawHTTPServer { _, _ in .status(403, "who are you?") }
        let seen = Mutex<[String?]>([])
        let inserter = Mutex<Inserter?>(nil)
        let working = try RawHTTPServer { _, _ in
            let statistics = inserter.withLock { $0 }?.statistics
            seen.withLock { $0.append(statistics?.operatorError) }
            return .clickHouse(200)
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [locked.url, working.url]))
        inserter.withLock { $0 = test.inserter }
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(seen.withLock { $0 } == [nil])
        #expect(test.inserter.statistics.failedAttempts == ["unexpected_answer": 1])
    }

    @Test("the wait of a block begins when it is submitted")
    func theWaitOfABlockBeginsWhenItIsSubmitted() async throws {
        let server = try RawHTTPServer { _, _ in .silence }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [server.url]))
        let block = flowBlock([labeledFlow(podLabels("1"))])
        let made = ContinuousClock.now
        let submitted = ContinuousClock.now
        test.submit(1, block)
        let blocks = test.blocks
        let (age, wait) = (try #require(blocks.oldestAge), try #require(blocks.oldestWait))
        #expect(wait <= .now - submitted && age >= wait + (submitted - made) && submitted > made)
        _ = await test.inserter.drain(timeout: .zero)
        #expect(test.completed == [])
    }
}
