// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

extension TestDatabase {
    /// Gives the table a deduplication window.
    func setWindow() async throws {
        try await query(
            String(contentsOf: Repository.file("deploy/clickhouse/003_deduplication_window.sql"), encoding: .utf8))
    }

    /// Returns the numbers of rows and of distinct rows, and the sum of bytes.
    func counts() async throws -> [[String]] {
        try await rows("SELECT count(), uniqExact(localPod, direction), sum(bytes) FROM network_flows_0")
    }
}

extension ClickHouseClient.Configuration {
    /// Makes a configuration for a test's own database behind the proxies at `endpoints`.
    fileprivate init(_ database: TestDatabase, over endpoints: [String], timeoutMilliseconds: Int = 120_000) {
        self.init(database)
        self.endpoints = endpoints
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

private func exception(_ code: Int, status: Int = 500, inBody: Bool = false) -> FaultyProxy.Fault {
    .answer(
        .clickHouse(
            status, headers: inBody ? [] : ["X-ClickHouse-Exception-Code: \(code)"],
            "Code: \(code). DB::Exception: as a test wants it. (WHATEVER)"))
}

/// The faults of ClickHouse, or of the connection to it, during an insert, with the reasons that they are counted
/// under.
private let faults: [(fault: FaultyProxy.Fault, reason: String)] = [
    (exception(241), "memory_limit"), (exception(252), "too_many_parts"), (exception(159), "timeout"),
    (exception(202), "exception"), (exception(241, status: 200, inBody: true), "memory_limit"),
    (exception(60, status: 404), "unknown_table"), (.answer(.status(503, "busy")), "unexpected_answer"),
    (.answer(.status(200, "<html>log in</html>")), "unexpected_answer"), (.answer(.hangUp), "connection"),
    (.cutRequest(afterBytes: 40), "connection"), (.cutRequest(afterBytes: 3_000), "connection"),
    (.cutAnswer(afterBytes: 0), "connection"), (.cutAnswer(afterBytes: 30), "unexpected_answer"),
]

/// With the real engine: every row sent is stored exactly once.
@Suite struct InserterFaultTests {
    @Test("every row is stored once, whatever fault interrupts an insert", arguments: faults.indices)
    func everyRowIsStoredOnceWhateverHappensToAnInsert(number: Int) async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let seen = Mutex<[String: Int]>([:])
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            guard let token = request.parameter("insert_deduplication_token") else { return .none }
            let count = seen.withLock {
                $0[token, default: 0] += 1
                return $0[token] ?? 0
            }
            return count <= 2 ? faults[number].fault : .none
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]), workers: 3)
        for number in 0..<6 { test.submit(number, flows: number + 1) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == Array(0..<6))
        #expect(test.inserter.statistics.failedAttempts == [faults[number].reason: 12])
        #expect(test.blocks.rejected.isEmpty)
        #expect(try await database.counts() == [["42", "42", "6300"]])
    }

    @Test("a lost response doubles rows only without a deduplication window", arguments: [true, false])
    func anAnswerThatIsLostDoublesRowsUnlessThereIsAWindow(hasWindow: Bool) async throws {
        let database = try await TestDatabase.make()
        if hasWindow { try await database.setWindow() }
        let proxy = try FaultyProxy.start(before: database.url) { _, number in
            number == 0 ? .cutAnswer(afterBytes: 0) : .none
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(proxy.inserts.count == 2)
        #expect(try await database.counts() == [hasWindow ? ["2", "2", "300"] : ["4", "2", "600"]])
    }

    @Test("a retry is trusted to be a duplicate if system.parts is not readable")
    func hiddenParts() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let proxy = try FaultyProxy.start(before: database.url) { _, number in
            number == 0 ? .cutAnswer(afterBytes: 0) : .none
        }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(database, over: [proxy.url]), hidden: [.parts])
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(proxy.requests.count == 2 && proxy.inserts.count == 2)
        #expect(try await database.counts() == [["2", "2", "300"]])
    }

    @Test("an insert without a response times out and is retried")
    func aClickHouseThatStoresAndIsSilentIsAskedAgain() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let proxy = try FaultyProxy.start(before: database.url) { _, number in number == 0 ? .swallowAnswer : .none }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(database, over: [proxy.url], timeoutMilliseconds: 1_000))
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        // On a busy machine, the next attempt may time out too.
        #expect(test.inserter.statistics.failedAttempts.keys.sorted() == ["timeout"])
        #expect(try await database.counts() == [["2", "2", "300"]])
    }

    /// Starts a ClickHouse of the test's own, with the table and a deduplication window.
    private func startClickHouse() async throws -> (ClickHouseProcess, ClickHouseClient.Configuration) {
        let clickHouse = try await ClickHouseProcess.start()
        let configuration = ClickHouseClient.Configuration(endpoints: [clickHouse.url])
        for file in ["001_network_flows_0", "003_deduplication_window"] {
            try await ask(
                configuration,
                String(contentsOf: Repository.file("deploy/clickhouse/\(file).sql"), encoding: .utf8))
        }
        return (clickHouse, configuration)
    }

    @discardableResult
    private func ask(_ configuration: ClickHouseClient.Configuration, _ sql: String) async throws -> [String] {
        try await withClient(configuration) { client throws(ClickHouseError) in try client.query(sql) }.get()
            .split(separator: /\s/).map(String.init)
    }

    @Test("every row is stored once after ClickHouse was killed and restarted")
    func aKilledClickHouseHasEveryRowOnceWhenItIsBack() async throws {
        var (clickHouse, configuration) = try await startClickHouse()
        let test = try InserterUnderTest(configuration, workers: 4)
        // No two batches have the same number of rows.
        for number in 0..<40 { test.submit(number, flows: 1 + number) }
        try await eventually("five blocks are stored") { test.completed.count >= 5 }
        try await clickHouse.kill()
        // ClickHouse is down for all of these, however long it took to end.
        for number in 40..<60 { test.submit(number, flows: 1 + number) }
        try await eventually("four attempts have failed") {
            test.inserter.statistics.failedAttempts["connection", default: 0] >= 4
        }
        clickHouse = try await clickHouse.restart()
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == Array(0..<60))
        #expect(
            try await ask(configuration, "SELECT count(), uniqExact(localPod, direction) FROM network_flows_0")
                == ["3660", "3660"])
        try await clickHouse.stop()
    }

    /// ClickHouse is killed after it has logged a batch's token, before or after it has committed the part.
    @Test(
        "a batch that a killed ClickHouse rejects as a duplicate is sent again if its rows are missing",
        arguments: [true, false])
    func whatAKilledClickHouseOnlySaysToHaveIsSentAgain(hasPart: Bool) async throws {
        enum Way { case losesAnswers, isBroken, isMended }
        var (clickHouse, configuration) = try await startClickHouse()
        let way = Mutex(Way.losesAnswers)
        let proxy = try FaultyProxy.start(before: clickHouse.url) { _, _ in
            switch way.withLock({ $0 }) {
            case .losesAnswers: .cutAnswer(afterBytes: 0)
            case .isBroken: .answer(.hangUp)
            case .isMended: .none
            }
        }
        var overProxy = configuration
        overProxy.endpoints = [proxy.url]
        let test = try InserterUnderTest(overProxy)
        test.submit(1, flows: 7)
        try await eventually("the block is stored but its response is lost") {
            test.inserter.statistics.failedAttempts["connection", default: 0] >= 1
        }
        way.withLock { $0 = .isBroken }
        let part = try #require(
            try await ask(configuration, "SELECT path FROM system.parts WHERE table = 'network_flows_0' AND rows = 14")
                .first)
        try await clickHouse.kill()
        if !hasPart { try FileManager.default.removeItem(atPath: part) }
        clickHouse = try await clickHouse.restart()
        way.withLock { $0 = .isMended }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1] && test.blocks.stored.rows == 14)
        #expect(test.inserter.statistics.rescuedBatches == (hasPart ? 0 : 1))
        #expect(
            try await ask(configuration, "SELECT count(), uniqExact(localPod, direction) FROM network_flows_0")
                == ["14", "14"])
        try await clickHouse.stop()
    }

    /// As above, after the batch's sibling with the same number of rows was stored.
    @Test(
        "a half that a killed ClickHouse rejects as a duplicate is sent again if its rows are missing",
        arguments: [true, false])
    func halvesThatAKilledClickHouseOnlySaysToHaveAreSentAgain(
        hasPart: Bool
    ) async throws {
        enum Way { case losesSecondHalf, isBroken, isMended }
        var (clickHouse, configuration) = try await startClickHouse()
        try await ask(configuration, "SYSTEM STOP MERGES network_flows_0")
        let way = Mutex(Way.losesSecondHalf)
        let proxy = try FaultyProxy.start(before: clickHouse.url) { _, number in
            switch (way.withLock({ $0 }), number) {
            case (.losesSecondHalf, 0): .answer(.status(413))
            case (.losesSecondHalf, 1): .none
            case (.losesSecondHalf, _): .cutAnswer(afterBytes: 0)
            case (.isBroken, _): .answer(.hangUp)
            case (.isMended, _): .none
            }
        }
        var overProxy = configuration
        overProxy.endpoints = [proxy.url]
        let test = try InserterUnderTest(overProxy)
        test.submit(1, flows: 7)
        try await eventually("both halves are stored but the response to the second one is lost") {
            test.inserter.statistics.failedAttempts["connection", default: 0] >= 1
        }
        way.withLock { $0 = .isBroken }
        let parts = try await ask(
            configuration,
            "SELECT path FROM system.parts WHERE table = 'network_flows_0' AND rows = 7 ORDER BY min_block_number")
        try #require(parts.count == 2)
        try await clickHouse.kill()
        if !hasPart { try FileManager.default.removeItem(atPath: parts[1]) }
        clickHouse = try await clickHouse.restart()
        way.withLock { $0 = .isMended }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1] && test.blocks.stored.rows == 14)
        #expect(test.inserter.statistics.rescuedBatches == (hasPart ? 0 : 1))
        #expect(
            try await ask(configuration, "SELECT count(), uniqExact(localPod, direction) FROM network_flows_0")
                == ["14", "14"])
        try await clickHouse.stop()
    }

    @Test("a batch waits until a renamed table is back") func aTableThatIsRenamedIsWaitedFor() async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database))
        try await database.query("RENAME TABLE network_flows_0 TO elsewhere")
        test.submit(1)
        try await eventually("two attempts have failed") {
            test.inserter.statistics.failedAttempts["unknown_table", default: 0] >= 2
        }
        let statistics = test.inserter.statistics
        #expect(statistics.lastError?.contains("exception 60") == true && statistics.lastFailureClass == .operator)
        #expect(test.blocks.queuedRows == 2 && test.completed == [])
        try await database.query("RENAME TABLE elsewhere TO network_flows_0")
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.inserter.statistics.lastError == nil && test.inserter.statistics.lastFailureClass == nil)
        #expect(try await database.counts() == [["2", "2", "300"]])
    }

    @Test("a changed password is read for the next attempt") func aPasswordThatIsChangedIsReadAnew() async throws {
        let database = try await TestDatabase.make()
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (user, password) = (folder.appending(path: "username"), folder.appending(path: "password"))
        try database.user.write(to: user, atomically: true, encoding: .utf8)
        try "not it".write(to: password, atomically: true, encoding: .utf8)
        var configuration = ClickHouseClient.Configuration(database)
        configuration.credentials = .files(user: user.path, password: password.path)
        let test = try InserterUnderTest(configuration)
        test.submit(1)
        try await eventually("two attempts are rejected") {
            test.inserter.statistics.failedAttempts["rejected", default: 0] >= 2
        }
        #expect(test.inserter.statistics.lastFailureClass == .operator)
        try database.password.write(to: password, atomically: true, encoding: .utf8)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.counts() == [["2", "2", "300"]])
    }

    @Test("inserts move to the next endpoint and stay there")
    func theNextEndpointTakesOverAndKeepsTheWork() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let isBroken = Mutex(false)
        let first = try FaultyProxy.start(before: database.url) { _, _ in
            isBroken.withLock { $0 } ? .answer(.status(503, "busy")) : .none
        }
        let second = try FaultyProxy.start(before: database.url) { _, _ in .none }
        let dead = try RawHTTPServer.closedURL()
        // Any retry delay would outlast the test.
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(database, over: [first.url, dead, second.url])
        ) { $0.backoff = Backoff(initial: .seconds(3600), maximum: .seconds(3600)) }
        test.submit(1)
        try await eventually("the first endpoint stores the block") { test.completed == [1] }
        isBroken.withLock { $0 = true }
        test.submit(2)
        try await eventually("another endpoint stores the block") { test.completed == [1, 2] }
        isBroken.withLock { $0 = false }
        test.submit(3)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(first.inserts.count == 2 && second.inserts.count == 2)
        let endpoints = test.inserter.statistics.endpoints
        #expect(endpoints.map(\.url) == [first.url, dead, second.url])
        #expect(endpoints.map(\.attempts) == [2, 1, 2])
        #expect(endpoints.map(\.failures) == [1, 1, 0])
        #expect(endpoints.map { $0.lastError != nil } == [true, true, false])
        #expect(try await database.counts() == [["6", "6", "900"]])
    }
}
