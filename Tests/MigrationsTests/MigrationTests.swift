// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import Foundation
import TestSupport
import Testing

@testable import Migrations

@Suite("migrations of ClickHouse's schema")
struct MigrationTests {
    /// What the migration of a database with other users leaves behind: ClickHouse of the tests keeps no roles.
    private static let parts = SchemaPart.usual.subtracting([.roles])
    private static let row = """
        (date, intervalStartTime, intervalSeconds, proto, direction, localPod, localIPv4, remoteIPv4, bytes, packets) \
        VALUES ('2100-01-02', '2100-01-02 03:04:00', 60, 'TCP', 'out', 'a', '10.0.0.1', '10.0.0.2', 1000, 10)
        """

    private static func migration(
        _ database: TestDatabase, name: String? = nil, table: String = "network_flows_0", cluster: String? = nil,
        parts: Set<SchemaPart> = parts
    ) -> SchemaMigration {
        SchemaMigration(
            ClickHouseClient.Configuration(
                endpoints: [database.url], database: name ?? database.name,
                credentials: database.user.isEmpty
                    ? .none : .fixed(user: database.user, password: database.password)),
            table: table, cluster: cluster, parts: parts)
    }

    private static func apply(_ migration: SchemaMigration) throws {
        for step in try migration.plan().steps { try migration.apply(step) }
    }

    private static func definitions(_ database: TestDatabase) async throws -> [[String]] {
        try await database.rows(
            """
            SELECT name, replaceAll(create_table_query, concat(currentDatabase(), '.'), '') FROM system.tables \
            WHERE database = currentDatabase() AND NOT startsWith(name, '.inner') ORDER BY name
            """)
    }

    @Test("from nothing, all of the schema is made, and a second run finds nothing to do")
    func empty() async throws {
        let database = try await TestDatabase.make(withTable: false)
        try await database.query("DROP DATABASE \(database.name)")
        let migration = Self.migration(database)
        let plan = try migration.plan()
        #expect(
            plan.steps.map(\.name) == [
                "database", "001_network_flows_0.sql", "002_extended_columns.sql", "003_deduplication_window.sql",
                "004_rollup_hourly.sql",
            ])
        #expect(plan.obstacles.isEmpty)
        try Self.apply(migration)
        #expect(try migration.plan() == migration.plan())
        #expect(try migration.plan().steps.isEmpty)
        #expect(try migration.plan().obstacles.isEmpty)
        try await database.query("INSERT INTO network_flows_0 \(Self.row)")
        #expect(
            try await database.query("SELECT sum(bytes), sum(bytesOnce) FROM network_flows_hourly") == "1000\t1000\n")

        // The files by hand make the same tables.
        let byHand = try await TestDatabase.make(withTable: false)
        for file in [SchemaFile.table, .columns, .window, .rollup] {
            for statement in file.statements { try await byHand.query(statement.text) }
        }
        #expect(try await Self.definitions(database) == Self.definitions(byHand))
    }

    @Test("the original's table keeps its rows and gets what it lacks")
    func original() async throws {
        let database = try await TestDatabase.make()
        try await database.query("INSERT INTO network_flows_0 \(Self.row)")
        let migration = Self.migration(database)
        #expect(
            try migration.plan().steps.map(\.name) == [
                "002_extended_columns.sql", "003_deduplication_window.sql", "004_rollup_hourly.sql",
            ])
        try Self.apply(migration)
        #expect(try migration.plan().steps.isEmpty)
        #expect(try await database.query("SELECT bytes, opened, localWorkload FROM network_flows_0") == "1000\t\t\n")
    }

    @Test("an earlier release's columns and view are brought up to date")
    func earlier() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let migration = Self.migration(database)
        try Self.apply(migration)
        let current = try await Self.definitions(database)
        try await database.query("DROP VIEW network_flows_hourly_view")
        try await database.query("DROP TABLE network_flows_0")
        for statement in SchemaFile.table.statements { try await database.query(statement.text) }
        // 002 and 004 as they were before 008.
        let columns = try #require(SchemaFile.columns.statements.first).text
            .split(separator: "\n").filter { line in
                !["`opened`", "`sourceTranslated`", "`conntrackZone`"].contains { line.contains("EXISTS \($0)") }
            }.joined(separator: "\n").replacing(", opened, conntrackZone)", with: ")")
        try await database.query(columns)
        let view = try #require(SchemaFile.rollup.statements.first { $0.words.contains("MATERIALIZED") }).text
        try await database.query(view.replacing(" OR connectionFlags['translated'],", with: ","))
        try await database.query("INSERT INTO network_flows_0 \(Self.row)")

        let plan = try migration.plan()
        #expect(
            plan.steps.map(\.purpose) == [
                "adds the columns opened, sourceTranslated, conntrackZone",
                "lets network_flows_0 store a batch once that is sent again",
                "gives the rollup's view the SELECT of this release",
            ])
        try Self.apply(migration)
        #expect(try migration.plan().steps.isEmpty)
        #expect(try await Self.definitions(database) == current)
        #expect(try await database.query("SELECT sum(bytes) FROM network_flows_0") == "1000\n")
    }

    @Test("parts that are not wanted are not made")
    func parts() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let migration = Self.migration(database, parts: [])
        #expect(try migration.plan().steps.map(\.name) == ["001_network_flows_0.sql"])
        try Self.apply(migration)
        #expect(try migration.plan().steps.isEmpty)
        let window = try Self.migration(database, parts: [.window]).plan()
        #expect(window.steps.map(\.name) == ["003_deduplication_window.sql"])
        let rollup = try Self.migration(database, parts: [.rollup]).plan()
        #expect(rollup.steps.isEmpty)
        #expect(rollup.obstacles.first?.contains("localWorkload, remoteWorkload") == true)
    }

    @Test("any name of a database and a table is quoted", arguments: ["a-b", "it's", "back`tick", "back\\slash", "ö"])
    func names(_ name: String) async throws {
        let database = try await TestDatabase.make(withTable: false)
        let full = "\(database.name)_\(name)"
        let migration = Self.migration(database, name: full, table: "flows \(name)")
        try Self.apply(migration)
        #expect(try migration.plan().steps.isEmpty)
        #expect(try migration.plan().obstacles.isEmpty)
        let escaped = full.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
        #expect(try await database.query("SELECT count() FROM system.tables WHERE database = '\(escaped)'") == "3\n")
    }

    @Test("two migrations at a time have the result of one")
    func concurrently() async throws {
        for _ in 0..<3 {
            let database = try await TestDatabase.make(withTable: false)
            let migration = Self.migration(database)
            let plan = try migration.plan()
            try await withThrowingTaskGroup { group in
                for _ in 0..<2 {
                    group.addTask { for step in plan.steps { try migration.apply(step) } }
                }
                try await group.waitForAll()
            }
            #expect(try migration.plan().steps.isEmpty)
            #expect(try migration.plan().obstacles.isEmpty)
        }
    }

    @Test("a migration continues where ClickHouse was killed")
    func killed() async throws {
        let process = try await ClickHouseProcess.start()
        let database = try await TestDatabase.make(in: process)
        let migration = Self.migration(database)
        let steps = try migration.plan().steps
        try migration.apply(steps[0])
        try await process.kill()
        let error = #expect(throws: MigrationError.self) { try migration.apply(steps[1]) }
        #expect(error?.description.contains("run the migration again to continue") == true)
        let restarted = try await process.restart()
        #expect(try migration.plan().steps == Array(steps.dropFirst()))
        try Self.apply(migration)
        #expect(try migration.plan().steps.isEmpty)
        try await restarted.stop()
    }

    @Test("what cannot be added is said, with the remedy, and nothing else is left out")
    func obstacles() async throws {
        let database = try await TestDatabase.make()
        let migration = Self.migration(database)
        // A column of its own at the end of the sorting key.
        try await database.query(
            "ALTER TABLE network_flows_0 ADD COLUMN team String, MODIFY ORDER BY ("
                + (try await database.query("SELECT sorting_key FROM system.tables WHERE database = currentDatabase()"))
                + ", team)")
        var plan = try migration.plan()
        #expect(plan.obstacles.count == 2)
        #expect(plan.obstacles.first?.contains("its sorting key is not that of an earlier release") == true)
        #expect(plan.obstacles.last?.contains("needs columns that network_flows_0 lacks: localWorkload") == true)
        #expect(plan.steps.map(\.name) == ["003_deduplication_window.sql"])

        // A column that was added without the sorting key.
        let second = try await TestDatabase.make()
        try await second.query("ALTER TABLE network_flows_0 ADD COLUMN opened LowCardinality(String)")
        plan = try Self.migration(second).plan()
        #expect(plan.obstacles.first?.contains("lacks opened") == true)

        // A view on another table.
        let third = try await TestDatabase.make()
        try Self.apply(Self.migration(third))
        plan = try Self.migration(third, table: "other").plan()
        #expect(plan.obstacles.first?.contains("reads another table than other") == true)
        #expect(!plan.steps.contains { $0.name == "004_rollup_hourly.sql" })

        let error = #expect(throws: ClickHouseError.self) { try Self.migration(database, cluster: "c").plan() }
        #expect("\(error.map(String.init(describing:)) ?? "")".contains("cluster 'c' not found"))
        try await database.query("CREATE TABLE far AS network_flows_0 ENGINE = Null")
        plan = try Self.migration(database, table: "far").plan()
        #expect(plan.obstacles.first?.contains("is a table of engine Null") == true)
    }

    @Test("on a cluster, the statements are those of 006 and 007, which the engine parses")
    func cluster() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let names = SchemaNames(database: "default", table: "network_flows_0", cluster: "{cluster}")
        let installed = InstalledSchema(databaseEngine: "Atomic", grants: [], roles: [])
        let plan = MigrationPlan(installed, names, parts: Set(SchemaPart.allCases))
        #expect(plan.obstacles.isEmpty)
        let sql = plan.steps.flatMap(\.sql)
        let files = [SchemaFile.cluster, .distributed].flatMap(\.statements).map {
            SchemaNames(database: "default", table: "network_flows_0").applied(to: $0).text
        }
        #expect(Set(sql) == Set(files))
        #expect(sql.count == files.count)
        for statement in sql {
            let escaped = statement.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
            let formatted = try await database.query("SELECT formatQuery('\(escaped)') FORMAT TabSeparatedRaw")
            #expect(formatted.contains("ON CLUSTER"), "\(statement)")
        }
    }

    @Test("tables of an earlier release on a cluster get their columns and their view on all servers")
    func clusterUpdate() async throws {
        let names = SchemaNames(database: "net", table: "network_flows_0", cluster: "prod")
        let key = "date,intervalStartTime,direction,proto,localApp,remoteApp,localPod,remotePod,intervalSeconds"
        var installed = InstalledSchema(
            databaseEngine: "Atomic",
            currentViewQuery: "WITH new AS is_once SELECT toStartOfHour(x, 'UTC') FROM net.network_flows_0 ")
        installed.tables = [
            "network_flows_0": .init(
                engine: "ReplicatedSummingMergeTree", sortingKey: key.split(separator: ",").map(String.init)),
            "network_flows_hourly": .init(engine: "ReplicatedSummingMergeTree"),
            "network_flows_hourly_view": .init(
                engine: "MaterializedView",
                query: "WITH old AS is_once SELECT toStartOfHour(x) FROM net.network_flows_0 "),
        ]
        var plan = MigrationPlan(installed, names, parts: [.columns, .window, .rollup, .distributed])
        // The rest of the key are columns of the original, which this table lacks; so the view cannot be updated either.
        #expect(plan.obstacles.count == 2)
        let columns = try #require(SchemaFile.columns.statements.first)
        let original = try #require(columns.words.firstIndex(of: "BY")).advanced(by: 1)
        installed.tables["network_flows_0"]?.sortingKey = Array(
            columns.words[original...].prefix { $0 != "localWorkload" })
        plan = MigrationPlan(installed, names, parts: [.columns, .window, .rollup, .distributed])
        #expect(plan.obstacles.isEmpty)
        #expect(plan.steps.map(\.name) == ["002_extended_columns.sql", "004_rollup_hourly.sql", "007_distributed.sql"])
        #expect(
            plan.steps.flatMap(\.sql).map { $0.prefix { !$0.isNewline } } == [
                "ALTER TABLE `net`.`network_flows_0` ON CLUSTER 'prod'",
                "ALTER TABLE `net`.`network_flows_hourly_view` ON CLUSTER 'prod' MODIFY QUERY",
                "CREATE OR REPLACE TABLE `net`.`network_flows_all` ON CLUSTER 'prod'",
                "CREATE OR REPLACE TABLE `net`.`network_flows_hourly_all` ON CLUSTER 'prod'",
            ])
        let alone = MigrationPlan(
            installed, SchemaNames(database: "net", table: "network_flows_0"), parts: SchemaPart.usual)
        #expect(alone.obstacles.first?.contains("network_flows_0 is replicated: name the ClickHouse cluster") == true)
        #expect(alone.steps.isEmpty)
    }

    /// The schema of a cluster of three servers that lacks nothing but the tables that read all shards.
    private static func clustered(_ names: SchemaNames) throws -> InstalledSchema {
        let columns = try #require(SchemaFile.columns.statements.first)
        let key = try #require(columns.words.firstIndex(of: "BY")).advanced(by: 1)
        let query = "WITH new AS is_once SELECT a FROM net.flows "
        var installed = InstalledSchema(databaseEngine: "Atomic", currentViewQuery: query)
        installed.tables = [
            names.table: .init(
                engine: "ReplicatedSummingMergeTree", sortingKey: Array(columns.words[key...]),
                columns: Set(columns.words)),
            SchemaNames.hourlyTable: .init(engine: "ReplicatedSummingMergeTree", columns: ["hour"]),
            SchemaNames.hourlyView: .init(engine: "MaterializedView", query: query),
        ]
        installed.servers = 3
        installed.serversWithTable = installed.tables.mapValues { _ in 3 }
        return installed
    }

    @Test("tables that read all shards replace no table that has rows, and need no rollup")
    func distributed() throws {
        let names = SchemaNames(database: "net", table: "flows", cluster: "prod")
        var installed = try Self.clustered(names)
        let parts: Set<SchemaPart> = [.columns, .rollup, .distributed]
        var plan = MigrationPlan(installed, names, parts: parts)
        #expect(plan.steps.map(\.name) == ["007_distributed.sql"] && plan.obstacles.isEmpty)
        #expect(plan.steps.first?.sql.count == 2)

        installed.tables[SchemaNames.hourlyTable] = nil
        installed.tables[SchemaNames.hourlyView] = nil
        plan = MigrationPlan(installed, names, parts: [.columns, .distributed])
        #expect(plan.steps.flatMap(\.sql).count == 1)

        installed = try Self.clustered(names)
        for table in [SchemaNames.distributedTable, SchemaNames.distributedHourlyTable] {
            var other = installed
            other.tables[table] = .init(engine: "MergeTree", columns: ["a"])
            plan = MigrationPlan(other, names, parts: parts)
            #expect(
                plan.steps.isEmpty && plan.obstacles.first?.hasPrefix("\(table) is a table of engine MergeTree") == true
            )
            let taken = SchemaNames(database: "net", table: table, cluster: "prod")
            plan = MigrationPlan(InstalledSchema(databaseEngine: "Atomic"), taken, parts: parts)
            #expect(plan.steps.isEmpty && plan.obstacles.first?.contains("set clickhouse_table") == true)
        }
    }

    @Test("a server of the cluster that lacks a table gets no other table under its name")
    func partialTables() throws {
        let names = SchemaNames(database: "net", table: "flows", cluster: "prod")
        var installed = try Self.clustered(names)
        installed.serversWithTable["flows"] = 2
        installed.tables["flows"] = nil
        let plan = MigrationPlan(installed, names, parts: SchemaPart.usual)
        #expect(plan.steps.isEmpty && plan.obstacles.count == 1)
        #expect(
            plan.obstacles.first?.contains("of the 3 servers of the cluster, not all have these tables: flows on 2")
                == true)
    }

    @Test("nothing is said of a table that lacks nothing, whatever cannot be changed")
    func complete() throws {
        let alone = SchemaNames(database: "net", table: "flows")
        var installed = try Self.clustered(alone)
        installed.serversWithTable = [:]
        let parts: Set<SchemaPart> = [.columns, .window, .rollup]
        for endpoints in 1...2 {
            let plan = MigrationPlan(installed, alone, parts: parts, endpoints: endpoints)
            #expect(plan.steps.isEmpty && plan.obstacles.isEmpty)
        }
        installed.tables["flows"]?.engine = "SummingMergeTree"
        #expect(MigrationPlan(installed, alone, parts: parts).steps.map(\.name) == ["003_deduplication_window.sql"])
        let several = MigrationPlan(installed, alone, parts: parts, endpoints: 2)
        #expect(several.steps.isEmpty && several.obstacles.first?.contains("names 2 endpoints") == true)
        let cluster = SchemaNames(database: "net", table: "flows", cluster: "prod")
        var withoutView = installed
        withoutView.tables[SchemaNames.hourlyView] = nil
        let single = MigrationPlan(withoutView, cluster, parts: parts)
        #expect(single.steps.isEmpty && single.obstacles.first?.contains("but clickhouse_cluster is set") == true)
        installed.tables["flows"]?.engine = "SharedSummingMergeTree"
        installed.tables[SchemaNames.hourlyView] = nil
        #expect(
            MigrationPlan(installed, alone, parts: parts, endpoints: 2).steps.map(\.name) == ["004_rollup_hourly.sql"])
    }

    @Test("a database that passes statements on by itself needs no cluster, and its table is made by hand")
    func replicatedDatabase() throws {
        let alone = SchemaNames(database: "net", table: "flows")
        var installed = try Self.clustered(alone)
        installed.databaseEngine = "Replicated"
        installed.tables[SchemaNames.hourlyView] = nil
        var plan = MigrationPlan(installed, alone, parts: [.rollup], endpoints: 2)
        #expect(plan.steps.map(\.name) == ["004_rollup_hourly.sql"] && plan.obstacles.isEmpty)
        installed.tables["flows"] = nil
        plan = MigrationPlan(installed, alone, parts: [.rollup])
        #expect(plan.steps.isEmpty && plan.obstacles.first?.contains("by hand as a ReplicatedSummingMergeTree") == true)
    }

    @Test("a SELECT that a user has changed is left as it is")
    func changedView() async throws {
        let database = try await TestDatabase.make()
        let migration = Self.migration(database)
        try Self.apply(migration)
        let view = try #require(SchemaFile.viewUpdates.first).text
        try await database.query(view.replacing("AS flows\n", with: "AS flows WHERE localNamespace != 'secret'\n"))
        let plan = try migration.plan()
        #expect(plan.steps.isEmpty)
        #expect(plan.obstacles.first?.contains("neither that of this release nor that of an earlier one") == true)
    }

    @Test("the SELECT of the first release is replaced")
    func firstView() async throws {
        let database = try await TestDatabase.make()
        let migration = Self.migration(database)
        try Self.apply(migration)
        let view = try #require(SchemaFile.viewUpdates.first).text
        let once = "direction = 'out' OR remoteNode = '' OR remoteNode = localNode)"
        try await database.query(
            view.replacing(/WITH multiIf(.|\n)* AS is_once\n/, with: "").replacing(", 'UTC'", with: "")
                .replacing("is_once)", with: once))
        let plan = try migration.plan()
        #expect(plan.steps.map(\.purpose) == ["gives the rollup's view the SELECT of this release"])
        try Self.apply(migration)
        #expect(try migration.plan().steps.isEmpty)
    }

    @Test("roles are made if they or their rights are missing")
    func roles() throws {
        let names = SchemaNames(database: "net", table: "network_flows_0")
        var installed = InstalledSchema(databaseEngine: "Atomic", grants: [], roles: [])
        let statements = SchemaFile.roles.statements.map { names.applied(to: $0).text }
        #expect(MigrationPlan(installed, names, parts: [.rollup, .roles]).steps.last?.sql == statements)
        // All rights of the files, as system.grants has them.
        let writer = ["date", "intervalStartTime", "direction", "proto", "localPod", "packets", "_part"].map {
            InstalledSchema.Grant(
                role: "kubenetmon_writer", access: "SELECT", database: "net", table: "network_flows_0", column: $0)
        }
        let tables = ["tables", "parts", "metrics", "merge_tree_settings", "replicated_merge_tree_settings"].map {
            InstalledSchema.Grant(
                role: "kubenetmon_writer", access: "SELECT", database: "system", table: $0, column: "")
        }
        let reader = ["network_flows_0", "network_flows_hourly"].map {
            InstalledSchema.Grant(role: "kubenetmon_reader", access: "SELECT", database: "net", table: $0, column: "")
        }
        let insert = InstalledSchema.Grant(
            role: "kubenetmon_writer", access: "INSERT", database: "net", table: "network_flows_0", column: "")
        installed.grants = Set(writer + tables + reader + [insert])
        installed.roles = ["kubenetmon_writer", "kubenetmon_reader"]
        let hasRoles = { (installed: InstalledSchema) in
            !MigrationPlan(installed, names, parts: [.rollup, .roles]).steps.contains { $0.name == "005_roles.sql" }
        }
        #expect(hasRoles(installed))
        for grant in installed.grants ?? [] {
            var less = installed
            less.grants?.remove(grant)
            #expect(!hasRoles(less), "\(grant)")
        }
        // A wider right includes the others.
        var wider = installed
        wider.grants = Set(tables + writer + [insert])
        wider.grants?.insert(.init(role: "kubenetmon_reader", access: "SELECT", database: "net", table: "", column: ""))
        #expect(hasRoles(wider))
        // Without the rollup, there is no right to read it.
        let sql = MigrationPlan(InstalledSchema(grants: [], roles: []), names, parts: [.roles]).steps.flatMap(\.sql)
        #expect(!sql.contains { $0.contains("network_flows_hourly") })
    }
}
