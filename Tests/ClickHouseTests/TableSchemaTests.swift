// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import Foundation
import TestSupport
import Testing

@testable import ClickHouse

private func load(_ database: TestDatabase, _ table: String = TableSchema.defaultTable) async throws -> Result<
    TableSchema, ClickHouseError
> {
    try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
        try TableSchema.load(table: table, of: client)
    }
}

@Suite struct TableSchemaTests {
    @Test("the original table has every column except the extended ones")
    func theOriginalTableHasEveryColumnButTheExtendedOnes() async throws {
        let schema = try await load(try await TestDatabase.make()).get()
        #expect(schema.columns == FlowColumn.original)
        #expect(!schema.form.hasIPv6)
        #expect(schema.insertStatement.hasPrefix("INSERT INTO `network_flows_0` (`date`, `intervalStartTime`, "))
        #expect(schema.insertStatement.hasSuffix("`packets`) FORMAT Native"))
    }

    @Test("the error about a missing table names the SQL file that creates it")
    func aMissingTableNamesItsDDL() async throws {
        let result = try await load(try await TestDatabase.make(withTable: false))
        #expect(result == .failure(.missingTable(name: "network_flows_0")))
        guard case .failure(let error) = result else { return }
        #expect("\(error)".contains("deploy/clickhouse/001_network_flows_0.sql"))
    }

    @Test("missing required columns are named") func missingRequiredColumnsAreNamed() async throws {
        let database = try await TestDatabase.make(withTable: false)
        try await database.query(
            "CREATE TABLE network_flows_0 (date Date, bytes UInt64, packets UInt64 ALIAS bytes) ENGINE = MergeTree ORDER BY date"
        )
        #expect(
            try await load(database)
                == .failure(
                    .missingColumns(
                        table: "network_flows_0", columns: ["intervalStartTime", "direction", "packets"])))
    }

    @Test("a missing database is an exception of ClickHouse") func aMissingDatabaseIsAnException() async throws {
        let existing = try await TestDatabase.make(withTable: false)
        var configuration = ClickHouseClient.Configuration(existing)
        configuration.database = "nowhere"
        let result = try await withClient(configuration) { client throws(ClickHouseError) in
            try TableSchema.load(of: client)
        }
        guard case .failure(.exception(81, _)) = result else {
            Issue.record("\(result)")
            return
        }
    }

    @Test(
        "a table's name may contain quotes, backslashes and SQL",
        arguments: ["it's", "back\\slash", "'; DROP TABLE t; --"])
    func anyNameIsAName(table: String) async throws {
        let database = try await TestDatabase.make(withTable: false)
        #expect(try await load(database, table) == .failure(.missingTable(name: table)))
    }

    @Test("rows are inserted into a table whose name contains quotes and backslashes")
    func anyNameCanBeInsertedInto() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let name = "a `b` \\ 'c'"
        try await database.query(
            """
            CREATE TABLE `a \\`b\\` \\\\ 'c'` (date Date, intervalStartTime DateTime, direction Enum('out' = 1, 'in' = 2),
                bytes UInt64, packets UInt64) ENGINE = MergeTree ORDER BY date
            """)
        try await insert([flowBlock()], into: database, table: name)
        #expect(try await database.rows("SELECT sum(bytes) FROM `a \\`b\\` \\\\ 'c'`") == [["300"]])
    }

    @Test("a table without a deduplication window causes a warning with the statement that sets one")
    func aTableWithoutAWindowIsWarnedOfWithTheStatementThatMendsIt() async throws {
        let database = try await TestDatabase.make()
        let before = try await load(database).get()
        #expect(before.deduplication == .plain(window: 0))
        let warning = try #require(before.warnings().first)
        #expect(before.warnings().count == 1)
        let statement = try #require(warning.firstMatch(of: /run: (ALTER .*)$/)?.output.1)
        try await database.query(String(statement))
        let after = try await load(database).get()
        #expect(after.deduplication == .plain(window: 10_000))
        #expect(after.warnings() == [])
        // The window applies only to synchronous inserts.
        #expect(after.warnings(.always).count == 1)
    }

    @Test("a user with INSERT only can insert, and a warning names the missing grants")
    func insertOnly() async throws {
        let clickHouse = try await ClickHouseProcess.start(roles: [
            "inserter": ["GRANT INSERT ON default.network_flows_0"],
            "stranger": ["GRANT INSERT ON default.other"],
        ])
        let administrator = ClickHouseClient.Configuration(endpoints: [clickHouse.url])
        let migrations = Set(FlowColumn.allCases.compactMap(\.migration)).sorted()
        for file in ["001_network_flows_0"] + migrations + ["003_deduplication_window"] {
            let sql = try String(contentsOf: Repository.file("deploy/clickhouse/\(file).sql"), encoding: .utf8)
            _ = try await withClient(administrator) { client throws(ClickHouseError) in try client.query(sql) }.get()
        }
        let view = "CREATE MATERIALIZED VIEW view ENGINE = Memory AS SELECT bytes FROM network_flows_0"
        _ = try await withClient(administrator) { client throws(ClickHouseError) in try client.query(view) }.get()
        var configuration = administrator
        configuration.credentials = .fixed(user: "inserter_user", password: "")
        let schema = try await withClient(configuration) { client throws(ClickHouseError) in
            try TableSchema.load(of: client)
        }.get()
        // The right to insert implies the right to see the table, and system.tables names its views.
        #expect(schema.columns == FlowColumn.allCases)
        #expect(schema.deduplication == .plain(window: 10_000) && schema.views == ["default.view"])
        #expect(schema.hidden.contains(.parts) && schema.hidden.contains(.metrics))
        let warning = try #require(schema.warnings().first)
        #expect(schema.warnings().count == 1)
        #expect(warning.contains("system.parts") && warning.contains("GRANT SELECT ON system.parts TO the user"))
        #expect(warning.contains("rows that ClickHouse loses when it is killed are not detected"))

        let drop = "DROP VIEW view"
        _ = try await withClient(administrator) { client throws(ClickHouseError) in try client.query(drop) }.get()
        let inserter = Inserter(
            configuration: .init(client: configuration), schema: schema, logger: quiet,
            account: BlockLedger(maximumBytes: .max).openAccount())
        inserter.submit(flowBlock()) { _ in }
        #expect(await inserter.drain(timeout: .seconds(300)) == 0)
        #expect(inserter.account.statistics.stored.rows == 2 && inserter.statistics.failedAttempts.isEmpty)

        configuration.credentials = .fixed(user: "stranger_user", password: "")
        let refused = try await withClient(configuration) { client throws(ClickHouseError) in
            try TableSchema.load(of: client)
        }
        // The schema is unknown: kubenetmon's own columns are sent, and the insert reports what is missing.
        let unknown = try refused.get()
        #expect(unknown.columns == FlowColumn.original && unknown.deduplication == .hidden)
        #expect(unknown.warnings().first?.contains("GRANT SHOW COLUMNS ON `network_flows_0` TO the user") == true)
        try await clickHouse.stop()
    }

    @Test(
        "a system table that is not readable does not affect the reading of the others",
        arguments: TableSchema.Question.allCases)
    func refusedQuestion(question: TableSchema.Question) async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            let sql = String(decoding: request.body, as: UTF8.self)
            let isRefused =
                switch question {
                case .columns: sql.hasPrefix("DESCRIBE")
                case .fences: sql.hasPrefix("SELECT date, ")
                default: sql.contains("FROM \(question.name) ")
                }
            return isRefused
                ? .answer(
                    .clickHouse(
                        403, headers: ["X-ClickHouse-Exception-Code: 497"],
                        "Code: 497. DB::Exception: u: Not enough privileges. (ACCESS_DENIED)")) : .none
        }
        var configuration = ClickHouseClient.Configuration(database)
        configuration.endpoints = [proxy.url]
        let schema = try await withClient(configuration) { client throws(ClickHouseError) in
            try TableSchema.load(of: client)
        }.get()
        #expect(schema.hidden == [question] && schema.columns == FlowColumn.original)
        #expect(schema.deduplication == (question == .engine ? .hidden : .plain(window: 10_000)))
        #expect(schema.warnings().count == 1 && schema.warnings().first?.contains(question.name) == true)
    }

    @Test("retrying until a view works causes a warning if the table has no known deduplication window")
    func retriedViews() throws {
        func warnings(
            _ deduplication: TableSchema.Deduplication, _ viewErrors: ViewErrors, version: String = "26.9.2.1"
        ) throws -> [String] {
            try TableSchema(
                table: "t", columnNames: FlowColumn.required.map(\.name), deduplication: deduplication,
                serverVersion: version
            ).warnings(.automatic, viewErrors).filter { $0.contains("clickhouse_view_errors") }
        }
        #expect(try warnings(.plain(window: 1), .retried).isEmpty && warnings(.plain(window: 0), .automatic).isEmpty)
        #expect(try warnings(.plain(window: 0), .retried).count == 1 && warnings(.hidden, .retried).count == 1)
        let old = try warnings(.plain(window: 1), .retried, version: "23.8.1.1")
        #expect(old.count == 1 && old.first?.contains("no retry reaches the materialized views") == true)
    }

    @Test("views that no retry reaches are named at start, with the remedy") func viewsAtStart() async throws {
        let database = try await TestDatabase.make()
        for view in ["one", "two"] {
            try await database.query(
                "CREATE MATERIALIZED VIEW \(view) ENGINE = Memory AS SELECT bytes FROM network_flows_0")
        }
        let before = try await load(database).get()
        #expect(before.views == ["\(database.name).one", "\(database.name).two"])
        let named = before.warnings().filter { $0.contains("(\(database.name).one, \(database.name).two)") }
        #expect(named.count == 1 && named.first?.contains("003_deduplication_window.sql") == true)
        #expect(before.warnings(.automatic, .ignored).count == 1)
        try await database.setWindow()
        #expect(try await load(database).get().warnings() == [])
    }

    @Test("a ClickHouse release whose retries do not reach views causes a warning")
    func retriesThatReachNoView() throws {
        func warnings(
            _ deduplication: TableSchema.Deduplication, _ asyncInsert: AsyncInsert, version: String,
            views: [String] = []
        ) throws -> [String] {
            try TableSchema(
                table: "t", columnNames: FlowColumn.required.map(\.name), deduplication: deduplication,
                views: views, serverVersion: version
            ).warnings(asyncInsert)
        }
        #expect(try warnings(.replicated(window: 1), .automatic, version: "25.12.1.1", views: ["d.v"]).isEmpty)
        #expect(try warnings(.replicated(window: 1), .always, version: "26.1.1.1", views: ["d.v"]).isEmpty)
        let always = try warnings(.replicated(window: 1), .always, version: "25.12.1.1")
        #expect(always.count == 1 && always.first?.contains("set clickhouse_async_insert: auto") == true)
        let old = try warnings(.plain(window: 1), .automatic, version: "23.8.1.1", views: ["d.v"])
        #expect(old.count == 1 && old.first?.contains("does not reach them") == true)
        #expect(old.first?.contains("24.2") == true)
    }

    @Test("003_deduplication_window.sql sets the deduplication window")
    func theMigrationSetsTheWindow() async throws {
        let database = try await TestDatabase.make()
        try await database.query(
            String(contentsOf: Repository.file("deploy/clickhouse/003_deduplication_window.sql"), encoding: .utf8))
        #expect(try await load(database).get().deduplication == .plain(window: 10_000))
    }

    @Test("deduplication is unknown for another engine, with a warning")
    func whatIsBehindAnotherEngineCannotBeSeen() async throws {
        let database = try await TestDatabase.make()
        try await database.query("CREATE TABLE front AS network_flows_0 ENGINE = Null")
        let schema = try await load(database, "front").get()
        #expect(schema.deduplication == .unknown(engine: "Null"))
        #expect(schema.warnings().first?.contains("engine Null") == true)
    }

    @Test(
        "the deduplication window is read from the table's engine and definition",
        arguments: [
            ("MergeTree", "MergeTree ORDER BY a SETTINGS index_granularity = 8192", .plain(window: 3)),
            (
                "SummingMergeTree",
                "SummingMergeTree ORDER BY a SETTINGS x = 1, non_replicated_deduplication_window = 7, y = 2",
                .plain(window: 7)
            ),
            ("MergeTree", "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 0", .plain(window: 0)),
            // The name of one setting is a suffix of the other's.
            (
                "ReplicatedSummingMergeTree",
                "ReplicatedSummingMergeTree('/p', 'r') SETTINGS non_replicated_deduplication_window = 7",
                .replicated(window: 9)
            ),
            (
                "ReplicatedMergeTree", "ReplicatedMergeTree SETTINGS replicated_deduplication_window = 0",
                .replicated(window: 0)
            ),
            ("SharedMergeTree", "SharedMergeTree ORDER BY a", .replicated(window: 9)),
            ("Distributed", "Distributed('c', 'd', 't')", .unknown(engine: "Distributed")),
        ] as [(String, String, TableSchema.Deduplication)])
    func theWindowIsReadFromTheDefinition(
        engine: String, definition: String, deduplication: TableSchema.Deduplication
    ) {
        #expect(
            TableSchema.Deduplication(
                engine: engine, definition: definition, plainDefault: "3", replicatedDefault: "9") == deduplication)
    }

    @Test(
        "a ClickHouse older than 23.8 causes a warning",
        arguments: [
            ("22.8.15.23", true), ("23.7.1.1", true), ("23.8.1.2992", false), ("24.1.1.1", false), ("26.9.2.1", false),
            ("", false),
        ])
    func anOldReleaseIsWarnedOf(version: String, isOld: Bool) throws {
        let schema = try TableSchema(
            table: "t", columnNames: FlowColumn.required.map(\.name), deduplication: .replicated(window: 1),
            serverVersion: version)
        #expect(schema.warnings().contains { $0.contains("older than 23.8") } == isOld)
        #expect(schema.warnings().count == (isOld ? 1 : 0))
    }
}
