// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse

@Suite struct InserterTests {
    @Test("blocks wait while ClickHouse is down and are then stored once")
    func blocksWaitForAClickHouseThatIsGoneAndAreStoredOnce() async throws {
        var clickHouse = try await ClickHouseProcess.start()
        let configuration = ClickHouseClient.Configuration(endpoints: [clickHouse.url])
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
        #expect(test.blocks.queuedRows == 4)
        #expect(test.inserter.statistics.lastError?.contains("cannot be reached") == true)

        clickHouse = try await clickHouse.restart()
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [0, 1, 2])
        let statistics = test.inserter.statistics
        #expect(test.blocks.stored == .init(blocks: 3, flows: 3, rows: 6, reportedBytes: 900))
        #expect(test.blocks.queuedRows == 0 && statistics.lastError == nil)
        let rows = try await withClient(configuration) { client throws(ClickHouseError) in
            try client.query("SELECT localPod, direction, bytes FROM network_flows_0 ORDER BY localPod, direction")
        }.get()
        let expected = (0..<3).flatMap { ["\($0)-0\tout\t100", "\($0)-0\tin\t200"] }
        #expect(rows.split(separator: "\n").map(String.init) == expected)
        try await clickHouse.stop()
    }

    @Test("a retry sends the same bytes with the same token and settings")
    func aRetrySendsTheSameBytesWithTheSameToken() async throws {
        let server = try RawHTTPServer { _, number in number < 2 ? .status(500, "not now") : .clickHouse(200) }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [server.url], timeoutMilliseconds: 300_000))
        test.submit(1, flows: 50)
        try await eventually("the third attempt succeeds") { test.completed == [1] }
        test.submit(2)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        let requests = server.inserts
        #expect(requests.count == 4)
        #expect(Set(requests.prefix(3).map(\.body)).count == 1)
        #expect(Set(requests.prefix(3).map(\.target)).count == 1)
        let tokens = requests.compactMap { $0.parameter("insert_deduplication_token") }
        #expect(tokens.count == 4)
        #expect(tokens.allSatisfy { UUID(uuidString: $0) != nil })
        #expect(Set(tokens) == [tokens[0], tokens[3]] && tokens[0] != tokens[3])
        #expect(requests[0].parameter("optimize_on_insert") == "0")
        #expect(requests[0].parameter("query")?.hasPrefix("INSERT INTO `network_flows_0` (`date`,") == true)
        #expect(test.inserter.statistics.failedAttempts == ["unexpected_answer": 2])
    }

    @Test("a thread reuses its connection") func aThreadKeepsItsConnection() async throws {
        let server = try RawHTTPServer { _, number in number == 1 ? .status(503, "busy") : .clickHouse(200) }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [server.url]))
        for number in 0..<4 { test.submit(number) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(server.inserts.count == 5 && server.connections == 1)
    }

    @Test("backpressure begins above the memory limit and ends at half of it")
    func pressureBeginsAboveTheBoundAndEndsAtHalfOfIt() async throws {
        let isOpen = Mutex(false)
        let server = try RawHTTPServer { _, _ in isOpen.withLock { $0 } ? .clickHouse(200) : .status(503, "busy") }
        let block = flowBlock((0..<1_000).map { labeledFlow(podLabels("\($0)")) })
        // An encoded block is smaller: both blocks in flight fit, and the third does not.
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [server.url]), workers: 2,
            maximumBytes: block.memoryBytes * 5 / 2)
        test.submit(1, block)
        #expect(test.pressure == [])
        test.submit(2, block)
        try await eventually("both inserts are in flight") { server.requests.count >= 2 }
        let underWay = test.blocks.queuedBytes
        #expect(underWay > 0 && underWay < 2 * block.memoryBytes)
        for number in 3...4 { test.submit(number, block) }
        #expect(test.pressure == [true])
        #expect(test.blocks.queuedBytes == underWay + 2 * block.memoryBytes)
        #expect(test.blocks.queuedRows == 8_000 && test.blocks.queuedBlocks == 4)
        #expect(try #require(test.blocks.oldestAge) > .zero)
        isOpen.withLock { $0 = true }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        try await eventually("backpressure ends") { test.pressure == [true, false] }
        #expect(test.completed == [1, 2, 3, 4])
        let statistics = test.inserter.statistics
        #expect(test.blocks.queuedBytes == 0 && test.blocks.queuedBlocks == 0 && test.blocks.oldestAge == nil)
        #expect(statistics.batchAge.counts.reduce(0, +) == 4)
        #expect(statistics.successfulAttemptDuration.counts.reduce(0, +) == 4)
    }

    @Test("backpressure is reported in order, and the last report is current")
    func pressureIsToldOneAtATimeAndTheLastIsTrue() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [server.url]), workers: 4, maximumBytes: 1)
        for number in 0..<100 { test.submit(number) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        try await eventually("backpressure ends") { test.pressure.last == false }
        #expect(test.pressure.enumerated().allSatisfy { $0.element == $0.offset.isMultiple(of: 2) })
    }

    @Test("a drain returns the number of rows that were not stored in time")
    func whatClickHouseNeverTookIsGivenUpAtTheEnd() async throws {
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [try RawHTTPServer.closedURL()]))
        test.submit(1, flows: 3)
        test.submit(2, flows: 2)
        #expect(await test.inserter.drain(timeout: .milliseconds(100)) == 10)
        #expect(test.completed == [])
        #expect(test.blocks.stored.rows == 0)
    }

    /// The server closes the agents' connections after the drain, so the handler must have returned by then.
    @Test("a drain returns after every settlement handler has returned")
    func whatIsDrainedHasBeenTold() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [server.url]))
        let isTold = Mutex(false)
        test.inserter.submit(flowBlock([labeledFlow(podLabels("1"))])) { _ in
            Thread.sleep(forTimeInterval: 0.3)
            isTold.withLock { $0 = true }
        }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(isTold.withLock { $0 })
    }

    @Test("a drain does not wait for a request without a response")
    func givingUpDoesNotWaitForASilentServer() async throws {
        let server = try RawHTTPServer { _, _ in .silence }
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [server.url], timeoutMilliseconds: 3_600_000))
        test.submit(1)
        try await eventually("the insert is in flight") { server.requests.count == 1 }
        let begin = ContinuousClock.now
        #expect(await test.inserter.drain(timeout: .milliseconds(100)) == 2)
        // The request's own timeout is an hour.
        #expect(ContinuousClock.now - begin < .seconds(1_800))
    }

    @Test("blocks submitted by many threads are all stored")
    func manyBlocksFromManyThreadsAreAllStored() async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database), workers: 4)
        await withTaskGroup { group in
            for number in 0..<100 { group.addTask { test.submit(number, flows: number % 7 + 1) } }
        }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == Array(0..<100))
        let flows = (0..<100).reduce(0) { $0 + $1 % 7 + 1 }
        #expect(test.blocks.stored.rows == UInt64(2 * flows))
        #expect(
            try await database.rows("SELECT count(), uniqExact(localPod) FROM network_flows_0")
                == [["\(2 * flows)", "\(flows)"]])
    }

    @Test("a second sink on the same ledger gets the same bytes, and the loads add up")
    func secondSink() async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database))
        let ledger = test.inserter.account.ledger
        let memory = MemorySink(account: ledger.openAccount())
        for number in 0..<3 {
            let block = flowBlock((0...number).map { labeledFlow(podLabels("\(number)-\($0)")) })
            test.submit(number, block)
            memory.submit(block) { _ in }
        }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(
            try await database.rows("SELECT sum(bytes), count() FROM network_flows_0")
                == [["\(memory.rowBytes)", "\(memory.statistics.queuedRows)"]])
        let sinks = ledger.statistics.sinks
        #expect(sinks[0].stored.reportedBytes == memory.rowBytes && sinks[1].pendingBytes == memory.rowBytes)
        #expect(test.inserter.load.heldBytes == 0 && memory.load.heldBytes == sinks[1].queuedBytes)
        #expect(sinks[1].queuedBytes == memory.blocks.map(\.memoryBytes).reduce(0, +))
    }

    @Test("a batch can be withdrawn until a thread takes its block")
    func withdrawal() async throws {
        let isOpen = Mutex(false)
        let server = try RawHTTPServer { _, _ in isOpen.withLock { $0 } ? .clickHouse(200) : .status(503, "busy") }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(endpoints: [server.url]))
        func identity(_ number: Int) -> BatchIdentity {
            BatchIdentity(agent: AgentIdentity(id: 1, nodeName: "node-a"), sequence: UInt64(number))
        }
        for number in 0..<3 {
            var block = flowBlock([])
            for batch in 0..<2 {
                block.append(labeledFlow(podLabels("\(number)-\(batch)")), observedAt: lastSecondOfADay)
                block.endBatch(identity(2 * number + batch))
            }
            test.submit(number, block)
            try await eventually("the first insert is in flight") { server.requests.count >= 1 }
        }
        #expect(test.inserter.withdraw([identity(0)]).isEmpty)
        #expect(test.inserter.withdraw([identity(3)]) == [identity(3)])
        #expect(test.inserter.withdraw([identity(4), identity(5)]) == [identity(4), identity(5)])
        #expect(test.blocks.pendingFlows == 3 && test.blocks.withdrawn.flows == 3)
        isOpen.withLock { $0 = true }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        // The third block had no batches left to settle.
        #expect(test.completed == [0, 1])
        #expect(test.blocks.stored.flows == 3 && test.blocks.queuedBytes == 0)
    }

    @Test("a drain ends at once when the last block is withdrawn, and when its task is cancelled")
    func endOfDrain() async throws {
        // Without workers, no block is taken.
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [try RawHTTPServer.closedURL()]), workers: 0)
        var block = flowBlock()
        let batch = BatchIdentity(agent: AgentIdentity(id: 1, nodeName: "node-a"), sequence: 1)
        block.endBatch(batch)
        test.submit(1, block)
        async let rest = test.inserter.drain(timeout: .seconds(3600))
        #expect(test.inserter.withdraw([batch]) == [batch])
        #expect(await rest == 0)

        let other = try InserterUnderTest(
            ClickHouseClient.Configuration(endpoints: [try RawHTTPServer.closedURL()]), workers: 0)
        other.submit(1)
        let drain = Task { await other.inserter.drain(timeout: .seconds(3600)) }
        drain.cancel()
        #expect(await drain.value == 2)
    }
}
