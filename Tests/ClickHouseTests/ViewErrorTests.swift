// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

extension TestDatabase {
    /// Makes a materialized view that fails on every row while `switch` is empty, and one that always works.
    fileprivate func makeViews() async throws {
        try await query("CREATE TABLE switch (on UInt8) ENGINE = MergeTree ORDER BY on")
        for (name, expression) in [
            ("broken", "throwIf((SELECT count() FROM \(self.name).switch) = 0, 'as a test wants it')"), ("sound", "0"),
        ] {
            try await query(
                """
                CREATE TABLE \(name)_rows (bytes UInt64, failed UInt8) ENGINE = MergeTree ORDER BY bytes
                SETTINGS non_replicated_deduplication_window = 1000
                """)
            try await query(
                """
                CREATE MATERIALIZED VIEW \(name) TO \(name)_rows
                AS SELECT bytes, \(expression) AS failed FROM network_flows_0
                """)
        }
    }

    /// Makes `broken` fail with TOO_MANY_PARTS, as when merges fall behind.
    fileprivate func blockTarget() async throws {
        try await query("INSERT INTO switch VALUES (1)")
        try await query("SYSTEM STOP MERGES broken_rows")
        try await query("INSERT INTO broken_rows VALUES (0, 0)")
        try await query("ALTER TABLE broken_rows MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
    }

    fileprivate func unblockTarget() async throws {
        try await query("ALTER TABLE broken_rows RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
        try await query("SYSTEM START MERGES broken_rows")
    }

    /// Returns the bytes in the table and in the targets of both views.
    fileprivate func sums() async throws -> [String] {
        try await rows(
            """
            SELECT (SELECT sum(bytes) FROM network_flows_0), (SELECT sum(bytes) FROM sound_rows),
                (SELECT sum(bytes) FROM broken_rows)
            """
        ).first ?? []
    }
}

/// A user's materialized view on the table, with the real engine.
@Suite struct ViewErrorTests {
    @Test("a failing materialized view leaves the table's bytes exact", arguments: [true, false])
    func exactSums(hasWindow: Bool) async throws {
        let database = try await TestDatabase.make()
        if hasWindow { try await database.setWindow() }
        try await database.makeViews()
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(database), deduplication: .plain(window: hasWindow ? 10_000 : 0)
        ) { $0.viewLimits.broken = .milliseconds(300) }
        for number in 0..<10 { test.submit(number) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == Array(0..<10))
        let statistics = test.inserter.statistics
        #expect(test.blocks.rejected.isEmpty && test.inserter.load.problem == nil && statistics.lastError == nil)
        #expect(test.blocks.stored.reportedBytes == 3_000)
        #expect(try await database.sums() == ["3000", "3000", "0"])
        guard hasWindow else {
            // Without a window, attempts ignore the view's error.
            #expect(statistics.failedAttempts.isEmpty && statistics.withoutViews.blocks == 0)
            return
        }
        #expect(statistics.failedAttempts.keys.sorted() == ["failing_view"])
        #expect(statistics.failedAttemptsByClass.keys.sorted { $0.rawValue < $1.rawValue } == [.view])
        #expect(statistics.withoutViews.blocks == 10 && statistics.withoutViews.reportedBytes == 3_000)
        let warnings = test.warnings.filter { $0.contains("stored in the table without the view") }
        #expect(warnings.count == 1 && warnings.first?.contains("view=\(database.name).broken") == true)
    }

    @Test(
        "a materialized view that recovers in time has every batch once", arguments: [ViewErrors.automatic, .retried])
    func recovery(viewErrors: ViewErrors) async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        try await database.makeViews()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
            $0.viewErrors = viewErrors
            $0.viewLimits.broken = .seconds(300)
            $0.backoff = Backoff(initial: .seconds(5), maximum: .seconds(5))
        }
        test.submit(1)
        try await eventually("the view has failed") {
            test.inserter.statistics.failedAttempts["failing_view", default: 0] >= 1
        }
        if viewErrors == .retried {
            try await eventually("the inserter reports the failing view") {
                test.inserter.load.problem?.contains("\(database.name).broken") == true
            }
        }
        try await database.query("INSERT INTO switch VALUES (1)")
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.sums() == ["300", "300", "300"])
        #expect(test.inserter.load.problem == nil)
    }

    @Test("a materialized view is waited for again after it has accepted a batch")
    func patienceReturns() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        try await database.makeViews()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
            $0.viewLimits.broken = .milliseconds(300)
        }
        func failures() -> UInt64 { test.inserter.statistics.failedAttempts["failing_view", default: 0] }
        test.submit(0)
        try await eventually("the batch is stored without the view") { test.completed == [0] }
        try await database.query("INSERT INTO switch VALUES (1)")
        test.submit(1)
        try await eventually("the view has the second batch") { test.completed == [0, 1] }
        let before = failures()
        try await database.query("TRUNCATE TABLE switch")
        test.submit(2)
        try await eventually("the third batch is stored without the view") { test.completed == [0, 1, 2] }
        #expect(failures() >= before + 2)
        // While the view keeps failing, later batches do not wait for it.
        let later = failures()
        test.submit(3)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(failures() == later + 1)
        #expect(try await database.sums() == ["1200", "1200", "300"])
    }

    @Test("a materialized view with a transient failure is retried at every endpoint")
    func passingFailure() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        try await database.makeViews()
        try await database.blockTarget()
        var configuration = ClickHouseClient.Configuration(database)
        configuration.endpoints = Array(repeating: database.url, count: 5)
        let test = try InserterUnderTest(configuration) { $0.viewLimits.broken = .zero }
        test.submit(1)
        try await eventually("the view has failed twelve times") {
            test.inserter.statistics.failedAttempts["failing_view", default: 0] >= 12
        }
        #expect(
            test.inserter.statistics.failedAttemptsByClass.keys.sorted { $0.rawValue < $1.rawValue } == [.transient])
        try await database.unblockTarget()
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.sums() == ["300", "300", "300"])
        #expect(test.inserter.statistics.withoutViews.blocks == 0)
    }

    @Test("a materialized view is ignored after its transient failure has lasted for the limit, and that is counted")
    func lastingFailure() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        try await database.makeViews()
        try await database.blockTarget()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
            $0.viewLimits.passing = .milliseconds(300)
        }
        test.submit(0)
        try await eventually("the batch is stored without the view") { test.completed == [0] }
        #expect(test.inserter.statistics.failedAttempts["failing_view", default: 0] >= 2)
        try await database.unblockTarget()
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.sums() == ["600", "600", "300"])
        let withoutViews = test.inserter.statistics.withoutViews
        #expect(withoutViews.blocks == 1 && withoutViews.reportedBytes == 300)
    }

    @Test("a failing materialized view does not affect another view into the same table")
    func oneTarget() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        try await database.makeViews()
        try await database.query(
            "CREATE MATERIALIZED VIEW second TO sound_rows AS SELECT bytes, 0 AS failed FROM network_flows_0")
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
            $0.viewLimits.broken = .milliseconds(300)
        }
        test.submit(0)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.sums() == ["300", "600", "0"])
    }

    @Test("a failing materialized view is named, however long its expression is") func longExpression() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let text = String(repeating: "x", count: 5_000)
        try await database.query(
            """
            CREATE MATERIALIZED VIEW long ENGINE = Memory
            AS SELECT throwIf(bytes > 0 AND localPod != '\(text)', 'no') AS failed FROM network_flows_0
            """)
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) { $0.viewErrors = .retried }
        test.submit(1)
        try await eventually("the view fails") { test.inserter.statistics.lastFailureClass == .view }
        #expect(test.inserter.statistics.lastError?.contains("view \(database.name).long failed") == true)
        _ = await test.inserter.drain(timeout: .zero)
    }

    @Test(
        "a materialized view whose target rejects rows or is gone loses no row of the table", arguments: [true, false])
    func target(hasWindow: Bool) async throws {
        let database = try await TestDatabase.make()
        if hasWindow { try await database.setWindow() }
        try await database.makeViews()
        try await database.query("INSERT INTO switch VALUES (1)")
        try await database.query("ALTER TABLE broken_rows ADD CONSTRAINT small CHECK bytes < 150")
        let test = try InserterUnderTest(
            ClickHouseClient.Configuration(database), deduplication: .plain(window: hasWindow ? 10_000 : 0)
        ) { $0.viewLimits.broken = .milliseconds(300) }
        for number in 0..<3 { test.submit(number) }
        try await eventually("all blocks are stored") { test.completed == [0, 1, 2] }
        try await database.query("DROP TABLE broken_rows SYNC")
        for number in 3..<6 { test.submit(number) }
        try await eventually("all blocks are stored without the view's target") { test.completed == Array(0..<6) }
        #expect(test.blocks.rejected.isEmpty)
        #expect(
            try await database.rows("SELECT sum(bytes), (SELECT sum(bytes) FROM sound_rows) FROM network_flows_0")
                == [["1800", "1800"]])
        _ = await test.inserter.drain(timeout: .zero)
    }
}
