// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import HTTPClient
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse

/// The state of a proxy before a ClickHouse that is killed.
private enum Way { case losesAnswers, isBroken, works }

/// With the real engine: a batch that a killed ClickHouse reports as stored is sent again only if its rows are missing.
@Suite struct CrashCheckTests {
    /// Stores a block of 14 rows of which the response is lost, kills ClickHouse, without the block's part if `hasPart` is
    /// false, restarts it, lets `change` act on it, and waits until the block is settled.
    ///
    /// - Returns: The number of rows of the block that are stored, and that of rescued batches.
    private func crash(
        hasPart: Bool, before prepare: (TestDatabase) async throws -> Void = { _ in },
        after change: (TestDatabase) async throws -> Void = { _ in }
    ) async throws -> (rows: String, rescued: UInt64) {
        var clickHouse = try await ClickHouseProcess.start()
        let database = try await TestDatabase.make(in: clickHouse)
        try await database.setWindow()
        try await prepare(database)
        let way = Mutex(Way.losesAnswers)
        let proxy = try FaultyProxy.start(before: clickHouse.url) { _, _ in
            switch way.withLock({ $0 }) {
            case .losesAnswers: .cutAnswer(afterBytes: 0)
            case .isBroken: .answer(.hangUp)
            case .works: .none
            }
        }
        var configuration = ClickHouseClient.Configuration(database)
        configuration.endpoints = [proxy.url]
        let test = try InserterUnderTest(configuration)
        test.submit(1, flows: 7)
        try await eventually("the block is stored but its response is lost") {
            test.inserter.statistics.failedAttempts["connection", default: 0] >= 1
        }
        way.withLock { $0 = .isBroken }
        let part = try #require(
            try await database.rows(
                "SELECT path FROM system.parts WHERE database = currentDatabase() AND rows = 14 AND level = 0"
            ).first?.first)
        try await clickHouse.kill()
        if !hasPart { try FileManager.default.removeItem(atPath: part) }
        clickHouse = try await clickHouse.restart()
        try await change(database)
        way.withLock { $0 = .works }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1] && test.blocks.stored.rows == 14)
        let rows = try await database.query("SELECT count() FROM network_flows_0 WHERE startsWith(localPod, '1-')")
        try await clickHouse.stop()
        return (String(rows.dropLast()), test.inserter.statistics.rescuedBatches)
    }

    /// Inserts 14 rows that are not the block's.
    private func insertOthers(_ database: TestDatabase) async throws {
        try await database.query("SYSTEM STOP MERGES network_flows_0")
        try await insert(
            [flowBlock((0..<7).map { labeledFlow(podLabels("2-\($0)"), sent: FlowCounters(packets: 9, bytes: 1)) })],
            into: database)
    }

    @Test(
        "a batch of as many rows does not hide a missing one, nor one that is there",
        arguments: [(true, "14", 0), (false, "14", 1)] as [(Bool, String, UInt64)])
    func equalRows(hasPart: Bool, rows: String, rescued: UInt64) async throws {
        let result = try await crash(hasPart: hasPart, after: insertOthers)
        #expect(result == (rows, rescued))
    }

    @Test("a part that was merged and removed is not taken for a missing one")
    func shortLifetime() async throws {
        let result = try await crash(hasPart: true) { database in
            try await database.query("ALTER TABLE network_flows_0 MODIFY SETTING old_parts_lifetime = 1")
        } after: { database in
            try await insert([flowBlock()], into: database)
            try await database.query("OPTIMIZE TABLE network_flows_0 FINAL")
            try await eventually("the merged part is removed") {
                try await database.query(
                    "SELECT count() FROM system.parts WHERE database = currentDatabase() AND level = 0") == "0\n"
            }
        }
        #expect(result == ("14", 0))
    }

    /// Returns the verdict on a block that server `a` has reported as stored, after an attempt with an unknown outcome.
    ///
    /// - Parameters:
    ///   - server: The server that responds to the question for the block's part.
    ///   - parts: Its response.
    ///   - siblings: The servers that have stored batches with as many rows.
    private func verdict(of server: String, parts: String, siblings: [String] = []) async throws
        -> StoredCheck.Verdict
    {
        let clickHouse = try RawHTTPServer { request, _ in
            let isQuestion = String(decoding: request.body.prefix(6), as: UTF8.self) == "SELECT"
            return .clickHouse(
                200, headers: ["X-ClickHouse-Server-Display-Name: \(isQuestion ? server : "a")"],
                isQuestion ? parts + "\n" : "")
        }
        let schema = try TableSchema(
            table: "t", columnNames: FlowColumn.original.map(\.name), deduplication: .plain(window: 10))
        var (block, encoder) = (flowBlock(), BlockEncoder())
        let (body, rows) = encoder.encode(&block, for: schema, compression: .lz4)
        let batch = InsertBatch(block, rows: rows, body: body, into: schema, timeoutMilliseconds: 60_000)
        return try await withClient(ClickHouseClient.Configuration(endpoints: [clickHouse.url])) {
            client throws(ClickHouseError) in
            try client.insert(batch.statement, batch.body, settings: batch.settings)
            var check = CrashCheck(siblings: siblings.map { .init(rows: batch.rows, server: $0) })
            check.note(
                .unreachable(endpoint: clickHouse.url, HTTPError(kind: .connection, message: "cut")), of: .now)
            return try check.verdict(batch, in: schema, asking: client)
        }.get()
    }

    @Test("parts of another server behind the address prove nothing")
    func anotherServer() async throws {
        #expect(try await verdict(of: "a", parts: "none") == .missing)
        #expect(try await verdict(of: "b", parts: "none") == .stored)
    }

    @Test("of batches with as many rows, those on other servers are not expected among the parts")
    func siblingsElsewhere() async throws {
        #expect(try await verdict(of: "a", parts: "x_1_1_0:1", siblings: ["a"]) == .missing)
        #expect(try await verdict(of: "a", parts: "x_1_1_0:1", siblings: ["b"]) == .stored)
    }

    @Test("if the table was replaced by one with another partition key, its parts are no evidence")
    func otherTables() async throws {
        func replaceTable(_ database: TestDatabase) async throws {
            try await database.query("RENAME TABLE network_flows_0 TO before")
            try await database.query(
                """
                CREATE TABLE network_flows_0 ENGINE = MergeTree PARTITION BY (date, direction) ORDER BY date
                SETTINGS non_replicated_deduplication_window = 100 AS SELECT * FROM before LIMIT 0
                """)
        }
        let result = try await crash(hasPart: false, after: replaceTable)
        #expect(result == ("14", 0))
    }
}
