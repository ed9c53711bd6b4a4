// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

private let agent = AgentIdentity(id: 1, nodeName: "node-a")

/// The batch of every announced block.
private let batch = BatchIdentity(agent: agent, sequence: 1)

/// Makes a block of `flows` flows that is announced under a token, each of two rows and from a pod whose name begins with
/// the token's.
private func announcedBlock(_ token: UInt128, flows: Int = 2) -> FlowBlock {
    var block = flowBlock((0..<flows).map { labeledFlow(podLabels("\(token)/\($0)")) })
    block.token = token
    block.endBatch(batch)
    return block
}

/// Makes a block whose fate is unknown, by default of an age that stays below a second however busy the machine is.
private func doubtful(_ token: UInt128, age: Duration = .seconds(-3600)) -> DoubtfulBlock {
    DoubtfulBlock(token: token, day: FlowBlock.day(of: lastSecondOfADay), age: age)
}

private func loadSchema(_ configuration: ClickHouseClient.Configuration) async throws -> TableSchema {
    try await withClient(configuration) { client throws(ClickHouseError) in try TableSchema.load(of: client) }.get()
}

private func obstacle(_ configuration: ClickHouseClient.Configuration) async throws -> String? {
    let schema = try await loadSchema(configuration)
    return try await withClient(configuration) { client throws(ClickHouseError) in
        try BlockFence.obstacle(to: schema, .automatic, asking: client)
    }.get()
}

private func settle(
    _ blocks: [DoubtfulBlock], _ configuration: ClickHouseClient.Configuration
) async throws -> [BlockFate] {
    let fence = BlockFence(configuration: configuration, schema: try await loadSchema(configuration))
    return try await onThread { Result { () throws(ClickHouseError) in try fence.settle(blocks) } }.get()
}

/// Sends a block as the server that announced it does.
private func insert(
    _ token: UInt128, into schema: TableSchema, _ configuration: ClickHouseClient.Configuration
) async throws {
    var (block, encoder) = (announcedBlock(token), BlockEncoder())
    let (body, rows) = encoder.encode(&block, for: schema, compression: .lz4)
    let batch = InsertBatch(block, rows: rows, body: body, into: schema, timeoutMilliseconds: 60_000)
    try await withClient(configuration) { client throws(ClickHouseError) in
        try client.insert(batch.statement, batch.body, settings: batch.settings)
    }.get()
}

extension TestDatabase {
    /// Returns the number of rows of the block that is announced under a token.
    fileprivate func rows(of token: UInt128) async throws -> Int {
        Int(try await query("SELECT count() FROM network_flows_0 WHERE startsWith(localPod, '\(token)/')").dropLast())
            ?? 0
    }

    /// Makes a database whose table has a deduplication window, by default of the usual size, once ClickHouse has run for
    /// so long that a block of a second is known to be younger.
    fileprivate static func withWindow(_ inserts: Int = 10_000) async throws -> TestDatabase {
        let database = try await TestDatabase.make()
        try await database.query(
            "ALTER TABLE network_flows_0 MODIFY SETTING non_replicated_deduplication_window = \(inserts)")
        try await eventually("ClickHouse has run for a while") {
            try await database.query("SELECT uptime() > 12") == "1\n"
        }
        return database
    }
}

@Suite struct BlockFenceTests {
    @Test("a block that is stored is told from one that is not, and the latter is never stored")
    func bothOrders() async throws {
        let database = try await TestDatabase.withWindow()
        let configuration = ClickHouseClient.Configuration(database)
        let schema = try await loadSchema(configuration)
        try await insert(1, into: schema, configuration)
        for _ in 0..<2 {
            // Each answer stays the same, also after merges.
            #expect(try await settle([doubtful(1), doubtful(2)], configuration) == [.stored, .notStored])
            try await insert(2, into: schema, configuration)
            try await database.query("OPTIMIZE TABLE network_flows_0 FINAL")
        }
        #expect(try await [database.rows(of: 1), database.rows(of: 2)] == [4, 0])
        let row = "SELECT bytes, packets, proto, direction FROM network_flows_0 WHERE startsWith(localPod, 'fence/')"
        #expect(try await database.rows(row) == [["0", "1", "", "out"]])
    }

    @Test("a fence that races with the block's insert tells the truth, while merges run")
    func race() async throws {
        let database = try await TestDatabase.withWindow()
        let configuration = ClickHouseClient.Configuration(database)
        let schema = try await loadSchema(configuration)
        let fence = BlockFence(configuration: configuration, schema: schema)
        let isOver = Atomic<Bool>(false)
        async let merges: Void = {
            while !isOver.load(ordering: .relaxed) { try await database.query("OPTIMIZE TABLE network_flows_0") }
        }()
        var fates: [BlockFate] = []
        for token in 1...30 as ClosedRange<UInt128> {
            async let inserted: Void = insert(token, into: schema, configuration)
            async let asked = onThread {
                Result { () throws(ClickHouseError) in try fence.settle([doubtful(token)]) }
            }
            let fate = try #require(try await asked.get().first)
            try await inserted
            let rows = try await database.rows(of: token)
            #expect(fate == (rows == 4 ? .stored : .notStored), "\(rows) rows")
            fates.append(fate)
        }
        isOver.store(true, ordering: .relaxed)
        try await merges
        // Both happen, unless the machine is very uneven; the other tests force either.
        #expect(fates.count == 30)
    }

    @Test("many blocks of several days are settled with one question")
    func manyBlocks() async throws {
        let database = try await TestDatabase.withWindow()
        let requests = Mutex<[String]>([])
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            requests.withLock { $0.append(String(decoding: request.body, as: UTF8.self)) }
            return .none
        }
        var configuration = ClickHouseClient.Configuration(database)
        let schema = try await loadSchema(configuration)
        try await insert(3, into: schema, configuration)
        configuration.endpoints = [proxy.url]
        let day = FlowBlock.day(of: lastSecondOfADay)
        let blocks = (0..<6).map { number in
            DoubtfulBlock(
                token: UInt128(number), day: day - UInt16(number % 3), age: .seconds(1 << (number * 3)))
        }
        let fence = BlockFence(configuration: configuration, schema: schema)
        let fates = try await onThread { Result { () throws(ClickHouseError) in try fence.settle(blocks) } }.get()
        // The engine of the tests is young: a block that is older may have been in flight when it started.
        #expect(fates[..<3] == [.notStored, .notStored, .notStored])
        #expect(fates[3] == .stored || fates[3] == .uncertain(reason: "ClickHouse has restarted"))
        #expect(fates[4...] == [.notStored, .notStored])
        #expect(requests.withLock { $0.count { $0.hasPrefix("SELECT") } } == 2)
        #expect(try await settle([], configuration) == [])
    }

    @Test("the server whose block was fenced finds out before it acknowledges the block")
    func lateOriginal() async throws {
        let database = try await TestDatabase.withWindow()
        let isHeld = DispatchSemaphore(value: 0)
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            if request.parameter("insert_deduplication_token") != nil { isHeld.wait() }
            return .none
        }
        var configuration = ClickHouseClient.Configuration(database)
        #expect(try await settle([doubtful(1)], configuration) == [.notStored])
        configuration.endpoints = [proxy.url]
        let test = try InserterUnderTest(configuration)
        let hasAgentLeft = Atomic(false)
        for token in 1...2 {
            test.submit(token, announcedBlock(UInt128(token))) { hasAgentLeft.load(ordering: .acquiring) }
        }
        // An agent of both blocks leaves before ClickHouse has responded.
        #expect(test.inserter.withdraw([batch]).isEmpty)
        hasAgentLeft.store(true, ordering: .releasing)
        for _ in 1...2 { isHeld.signal() }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1, 2] && test.void == [1])
        #expect(test.blocks.stored.rows == 4 && test.blocks.withdrawn.rows == 4)
        #expect(test.blocks.queuedBytes == 0 && test.inserter.statistics.voidBlocks == 1)
        #expect(try await [database.rows(of: 1), database.rows(of: 2)] == [0, 4])
    }

    @Test("after ClickHouse was killed, a fence that was answered stays, and a block without a fence is uncertain")
    func kill() async throws {
        var clickHouse = try await ClickHouseProcess.start()
        let database = try await TestDatabase.make(in: clickHouse)
        try await database.setWindow()
        let configuration = ClickHouseClient.Configuration(database)
        let schema = try await loadSchema(configuration)
        try await insert(1, into: schema, configuration)
        #expect(try await settle([doubtful(2)], configuration) == [.notStored])
        try await clickHouse.kill()
        clickHouse = try await clickHouse.restart()
        try await insert(2, into: schema, configuration)
        #expect(
            try await settle([1, 2, 3].map { doubtful($0, age: .seconds(3600)) }, configuration)
                == [.uncertain(reason: "ClickHouse has restarted"), .notStored, .notStored])
        #expect(try await [database.rows(of: 1), database.rows(of: 2)] == [4, 0])
        try await clickHouse.stop()
    }

    @Test("a fence that comes after more inserts than the window holds is uncertain")
    func window() async throws {
        let database = try await TestDatabase.withWindow(5)
        let configuration = ClickHouseClient.Configuration(database)
        let schema = try await loadSchema(configuration)
        try await insert(1, into: schema, configuration)
        #expect(try await settle([doubtful(1)], configuration) == [.stored])
        for token in 2...8 { try await insert(UInt128(token), into: schema, configuration) }
        #expect(
            try await settle([doubtful(1, age: .seconds(3600)), doubtful(8)], configuration)
                == [.uncertain(reason: "the deduplication window is exceeded"), .stored])
    }

    @Test("answers of another server, and other endpoints, make a fate uncertain")
    func otherServers() async throws {
        /// Returns the fates of a stored and of a fenced block, of a ClickHouse whose answers come from `names` in turn.
        func fates(_ names: [String], endpoints: Int) async throws -> [BlockFate] {
            let server = try RawHTTPServer { request, number in
                let sql = String(decoding: request.body, as: UTF8.self)
                let text =
                    sql.hasPrefix("SELECT uptime()")
                    ? "100000\t5\n"
                    : sql.hasPrefix("SELECT") ? "fence/\(DeduplicationToken.text(of: 2))\n" : ""
                let name = names[number % names.count]
                return .clickHouse(200, headers: ["X-ClickHouse-Server-Display-Name: \(name)"], text)
            }
            let configuration = ClickHouseClient.Configuration(
                endpoints: Array(repeating: server.url, count: endpoints))
            let schema = try TableSchema(
                table: "t", columnNames: FlowColumn.original.map(\.name), deduplication: .plain(window: 10))
            let fence = BlockFence(configuration: configuration, schema: schema)
            return try await onThread {
                Result { () throws(ClickHouseError) in try fence.settle([doubtful(1), doubtful(2)]) }
            }.get()
        }
        #expect(try await fates(["a"], endpoints: 1) == [.stored, .notStored])
        let other = BlockFate.uncertain(reason: "another ClickHouse server answered")
        #expect(try await fates(["a", "a", "b", "b"], endpoints: 1) == [other, other])
        #expect(
            try await fates(["a"], endpoints: 2)
                == [.stored, .uncertain(reason: "another endpoint may have the block")])
    }

    @Test("while ClickHouse cannot be asked, an error is thrown, and the next attempt gives the fates")
    func retry() async throws {
        let database = try await TestDatabase.withWindow()
        let failures = Mutex(3)
        let proxy = try FaultyProxy.start(before: database.url) { _, number in
            let isBroken = failures.withLock { count in
                count -= 1
                return count >= 0
            }
            return !isBroken ? .none : number == 0 ? .cutAnswer(afterBytes: 0) : .answer(.status(503))
        }
        let direct = ClickHouseClient.Configuration(database)
        var configuration = direct
        configuration.endpoints = [proxy.url]
        let schema = try await loadSchema(direct)
        try await insert(1, into: schema, direct)
        let fence = BlockFence(configuration: configuration, schema: schema)
        func attempt() async throws -> Result<[BlockFate], ClickHouseError> {
            try await onThread {
                Result { () throws(ClickHouseError) in try fence.settle([doubtful(2), doubtful(1)]) }
            }
        }
        for _ in 0..<3 {
            guard case .failure = try await attempt() else { return #expect(Bool(false), "ClickHouse answered") }
        }
        #expect(try await attempt() == .success([.notStored, .stored]))
    }

    // MARK: - Obstacles

    @Test("a usual table with a window has no obstacle, and the control leaves one row of no bytes")
    func noObstacle() async throws {
        let database = try await TestDatabase.withWindow()
        #expect(try await obstacle(ClickHouseClient.Configuration(database)) == nil)
        #expect(
            try await database.rows("SELECT count(), sum(bytes), sum(packets) FROM network_flows_0")
                == [["1", "0", "1"]])
    }

    @Test("a table without a window is an obstacle, also if the window was removed after it was read")
    func noWindow() async throws {
        let database = try await TestDatabase.make()
        let configuration = ClickHouseClient.Configuration(database)
        #expect(try await obstacle(configuration) == "table network_flows_0 has no deduplication window")
        try await database.setWindow()
        let schema = try await loadSchema(configuration)
        try await database.query("ALTER TABLE network_flows_0 RESET SETTING non_replicated_deduplication_window")
        let found = try await withClient(configuration) { client throws(ClickHouseError) in
            try BlockFence.obstacle(to: schema, .automatic, asking: client)
        }.get()
        #expect(found?.contains("does not deduplicate inserts") == true)
    }

    @Test("the obstacle of a user without the right to read fences names the grant; 005_roles.sql has it")
    func grants() async throws {
        let roles = try String(contentsOf: Repository.file("deploy/clickhouse/005_roles.sql"), encoding: .utf8)
        let writer = roles.matches(of: /(?m)^(GRANT .*) TO kubenetmon_writer;$/).map { String($0.output.1) }
            .map { $0.replacing(" ON network_flows_0", with: " ON default.network_flows_0") }
        try #require(writer.count == 7)
        let clickHouse = try await ClickHouseProcess.start(roles: [
            "writer": writer, "inserter": writer.filter { !$0.contains("SELECT(") },
        ])
        var configuration = ClickHouseClient.Configuration(endpoints: [clickHouse.url])
        for file in ["001_network_flows_0", "003_deduplication_window"] {
            let sql = try String(contentsOf: Repository.file("deploy/clickhouse/\(file).sql"), encoding: .utf8)
            _ = try await withClient(configuration) { client throws(ClickHouseError) in try client.query(sql) }.get()
        }
        configuration.credentials = .fixed(user: "writer_user", password: "")
        #expect(try await loadSchema(configuration).warnings() == [])
        #expect(try await obstacle(configuration) == nil)
        #expect(try await settle([doubtful(1)], configuration) == [.notStored])
        configuration.credentials = .fixed(user: "inserter_user", password: "")
        let grant = "GRANT SELECT(date, intervalStartTime, direction, proto, localPod, packets, _part) ON `network_"
        #expect(try await obstacle(configuration)?.contains(grant) == true)
        let warnings = try await loadSchema(configuration).warnings()
        #expect(warnings.count == 1 && warnings.first?.contains(grant) == true)
        try await clickHouse.stop()
    }

    @Test("tables on which a fence proves nothing are obstacles")
    func obstacles() throws {
        func obstacle(
            _ deduplication: TableSchema.Deduplication = .plain(window: 1), _ asyncInsert: AsyncInsert = .automatic,
            columns: [FlowColumn] = FlowColumn.original, layout: TableSchema.Layout = .usual,
            hidden: [TableSchema.Question] = []
        ) throws -> String? {
            try TableSchema(
                table: "t", columnNames: columns.map(\.name), deduplication: deduplication, layout: layout,
                hidden: hidden
            ).fenceObstacle(asyncInsert)
        }
        #expect(try obstacle() == nil && obstacle(hidden: [.metrics]) == nil)
        #expect(try obstacle(.plain(window: 0)) == "table t has no deduplication window")
        #expect(try obstacle(.plain(window: 1), .always) == "asynchronous inserts are not deduplicated")
        #expect(try obstacle(.replicated(window: 1)) == "table t is replicated, which is not supported yet")
        #expect(try obstacle(.unknown(engine: "Distributed"))?.contains("engine Distributed") == true)
        #expect(try obstacle(.hidden)?.contains("GRANT SELECT ON system.tables") == true)
        #expect(try obstacle(hidden: [.parts])?.contains("GRANT SELECT ON system.parts") == true)
        #expect(try obstacle(columns: FlowColumn.required) == "table t has no column proto")
        func layout(
            _ engine: String, _ definition: String? = nil, partition: String = "date",
            sorting: String = "date, localPod"
        ) -> TableSchema.Layout {
            TableSchema.Layout(
                engine: engine, definition: definition ?? "\(engine) PARTITION BY date ORDER BY (date, localPod)",
                partitionKey: partition, sortingKey: sorting)
        }
        let fit = [
            layout("MergeTree", sorting: "date"), layout("MergeTree", partition: ""), layout("SummingMergeTree"),
            layout("SummingMergeTree", "SummingMergeTree((bytes, packets)) ORDER BY localPod"),
            layout("SummingMergeTree", "SummingMergeTree(packets) PARTITION BY date ORDER BY localPod"),
        ]
        for layout in fit { #expect(try obstacle(layout: layout) == nil, "\(layout)") }
        let unfit = [
            layout("ReplacingMergeTree"), layout("AggregatingMergeTree"), layout("SummingMergeTree", sorting: "date"),
            layout("SummingMergeTree", sorting: "date, localPodIP"),
            layout("SummingMergeTree", "SummingMergeTree(bytes) PARTITION BY packets ORDER BY (localPod, packets)"),
            layout("MergeTree", partition: "toStartOfHour(intervalStartTime)"),
            layout("MergeTree", partition: "(date, direction)"),
        ]
        for layout in unfit { #expect(try obstacle(layout: layout) != nil, "\(layout)") }
    }
}
