// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse

/// An inserter for a test, and what it has told.
private final class InserterUnderTest: Sendable {
    let inserter: Inserter
    private let log: Log

    private final class Log: Sendable {
        let pressure = Mutex<[Bool]>([])
        let completed = Mutex<[Int]>([])
    }

    init(_ client: ClickHouseClient.Configuration, workers: Int = 1, maximumQueuedRows: Int = 1_000_000) throws {
        let log = Log()
        self.log = log
        inserter = Inserter(
            configuration: Inserter.Configuration(
                client: client, workers: workers, maximumQueuedRows: maximumQueuedRows),
            schema: try TableSchema(table: "network_flows_0", columnNames: FlowColumn.original.map(\.rawValue)),
            logger: quiet, onPressure: { isHigh in log.pressure.withLock { $0.append(isHigh) } })
    }

    var pressure: [Bool] { log.pressure.withLock { $0 } }
    /// The numbers of blocks whose completion was called, once for each call.
    var completed: [Int] { log.completed.withLock { $0 }.sorted() }

    /// Submits a block of as many flows, each of two rows.
    func submit(_ number: Int, flows: Int = 1) {
        let block = flowBlock((0..<flows).map { labeledFlow(podLabels("\(number)-\($0)")) })
        inserter.submit(block) { [log] in log.completed.withLock { $0.append(number) } }
    }
}

@Suite struct InserterTests {
    @Test func blocksWaitForAClickHouseThatIsGoneAndAreStoredOnce() async throws {
        var clickHouse = try await ClickHouseProcess.start()
        let configuration = ClickHouseClient.Configuration(endpoint: clickHouse.url)
        let ddl = try String(
            contentsOf: Repository.file("deploy/clickhouse/001_network_flows_0.sql"), encoding: .utf8)
        _ = try await withClient(configuration) { client throws(ClickHouseError) in try client.query(ddl) }.get()
        let test = try InserterUnderTest(configuration, workers: 2)
        test.submit(0)
        try await eventually("the first block is stored") { test.completed == [0] }

        try await clickHouse.kill()
        test.submit(1)
        test.submit(2)
        try await eventually("both attempts have failed") {
            test.inserter.statistics.failedAttempts["connection", default: 0] >= 2
        }
        #expect(test.completed == [0])
        #expect(test.inserter.statistics.queuedRows == 4)
        #expect(test.inserter.statistics.lastError?.contains("cannot be reached") == true)

        clickHouse = try await clickHouse.restart()
        #expect(try await test.inserter.drain(timeout: .seconds(60)) == 0)
        #expect(test.completed == [0, 1, 2])
        let statistics = test.inserter.statistics
        #expect(statistics.insertedBlocks == 3 && statistics.insertedRows == 6)
        #expect(statistics.insertedReportedBytes == 900)
        #expect(statistics.queuedRows == 0 && statistics.lastError == nil)
        let rows = try await withClient(configuration) { client throws(ClickHouseError) in
            try client.query("SELECT localPod, direction, bytes FROM network_flows_0 ORDER BY localPod, direction")
        }.get()
        let expected = (0..<3).flatMap { ["\($0)-0\tout\t100", "\($0)-0\tin\t200"] }
        #expect(rows.split(separator: "\n").map(String.init) == expected)
        try await clickHouse.stop()
    }

    @Test func aRetrySendsTheSameBytesWithTheSameToken() async throws {
        let server = try RawHTTPServer { _, number in number < 2 ? .status(500, "not now") : .clickHouse(200) }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoint: server.url, timeoutMilliseconds: 30_000))
        test.submit(1, flows: 50)
        try await eventually("the third attempt succeeds") { test.completed == [1] }
        test.submit(2)
        #expect(try await test.inserter.drain(timeout: .seconds(30)) == 0)
        let requests = server.requests
        #expect(requests.count == 4)
        #expect(Set(requests.prefix(3).map(\.body)).count == 1)
        #expect(Set(requests.prefix(3).map(\.target)).count == 1)
        let tokens = requests.compactMap { $0.parameter("insert_deduplication_token") }
        #expect(tokens.count == 4)
        #expect(tokens.allSatisfy { UUID(uuidString: $0) != nil })
        #expect(Set(tokens) == [tokens[0], tokens[3]] && tokens[0] != tokens[3])
        let settings = ["async_insert", "wait_for_async_insert", "wait_for_async_insert_timeout", "optimize_on_insert"]
        // ClickHouse gives up waiting before the client does.
        #expect(settings.map { requests[0].parameter($0) } == ["1", "1", "20", "0"])
        #expect(requests[0].parameter("query")?.hasPrefix("INSERT INTO `network_flows_0` (`date`,") == true)
        #expect(test.inserter.statistics.failedAttempts == ["unexpected_answer": 2])
    }

    @Test func pressureBeginsAboveTheBoundAndEndsAtHalfOfIt() async throws {
        let isOpen = Mutex(false)
        let server = try RawHTTPServer { _, _ in isOpen.withLock { $0 } ? .clickHouse(200) : .status(503, "busy") }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoint: server.url), workers: 2, maximumQueuedRows: 20)
        test.submit(1, flows: 10)
        #expect(test.pressure == [])
        test.submit(2, flows: 1)
        test.submit(3, flows: 1)
        #expect(test.pressure == [true])
        #expect(test.inserter.statistics.queuedRows == 24)
        isOpen.withLock { $0 = true }
        #expect(try await test.inserter.drain(timeout: .seconds(60)) == 0)
        try await eventually("the pressure ends") { test.pressure == [true, false] }
        #expect(test.completed == [1, 2, 3])
    }

    @Test func whatClickHouseNeverTookIsGivenUpAtTheEnd() async throws {
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoint: try RawHTTPServer.closedURL()))
        test.submit(1, flows: 3)
        test.submit(2, flows: 2)
        #expect(try await test.inserter.drain(timeout: .milliseconds(100)) == 10)
        #expect(test.completed == [])
        #expect(test.inserter.statistics.insertedRows == 0)
    }

    @Test func givingUpDoesNotWaitForASilentServer() async throws {
        let server = try RawHTTPServer { _, _ in .silence }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoint: server.url))
        test.submit(1)
        try await eventually("the request is under way") { server.requests.count == 1 }
        let begin = ContinuousClock.now
        #expect(try await test.inserter.drain(timeout: .milliseconds(100)) == 2)
        // The request itself has two minutes.
        #expect(ContinuousClock.now - begin < .seconds(60))
    }

    @Test func aRefusalIsRetriedAndCountedByItsReason() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database))
        test.submit(1)
        try await eventually("an attempt fails") { test.inserter.statistics.failedAttempts["unknown_table"] != nil }
        #expect(test.inserter.statistics.lastError?.contains("exception 60") == true)
        try await database.createTable()
        #expect(try await test.inserter.drain(timeout: .seconds(60)) == 0)
        #expect(try await database.rows("SELECT count(), sum(bytes) FROM network_flows_0") == [["2", "300"]])
    }

    @Test func manyBlocksFromManyThreadsAreAllStored() async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database), workers: 4)
        await withTaskGroup { group in
            for number in 0..<100 { group.addTask { test.submit(number, flows: number % 7 + 1) } }
        }
        #expect(try await test.inserter.drain(timeout: .seconds(60)) == 0)
        #expect(test.completed == Array(0..<100))
        let flows = (0..<100).reduce(0) { $0 + $1 % 7 + 1 }
        #expect(test.inserter.statistics.insertedRows == UInt64(2 * flows))
        #expect(
            try await database.rows("SELECT count(), uniqExact(localPod) FROM network_flows_0")
                == [["\(2 * flows)", "\(flows)"]])
    }
}
