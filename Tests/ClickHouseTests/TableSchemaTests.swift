// SPDX-License-Identifier: Apache-2.0

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

extension FlowColumn {
    /// The columns of the original's table.
    static let original = allCases.prefix { $0 != .localWorkload }
}

@Suite struct TableSchemaTests {
    @Test func theOriginalTableHasEveryColumnButTheExtendedOnes() async throws {
        let schema = try await load(try await TestDatabase.make()).get()
        #expect(schema.columns == Array(FlowColumn.original))
        #expect(!schema.hasIPv6)
        #expect(schema.insertStatement.hasPrefix("INSERT INTO `network_flows_0` (`date`, `intervalStartTime`, "))
        #expect(schema.insertStatement.hasSuffix("`packets`) FORMAT Native"))
    }

    @Test func aMissingTableNamesItsDDL() async throws {
        let result = try await load(try await TestDatabase.make(withTable: false))
        #expect(result == .failure(.missingTable(name: "network_flows_0")))
        guard case .failure(let error) = result else { return }
        #expect("\(error)".contains("deploy/clickhouse/001_network_flows_0.sql"))
    }

    @Test func missingRequiredColumnsAreNamed() async throws {
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

    @Test func aMissingDatabaseIsAnException() async throws {
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

    @Test(arguments: ["it's", "back\\slash", "'; DROP TABLE t; --"]) func anyNameIsAName(table: String) async throws {
        let database = try await TestDatabase.make(withTable: false)
        #expect(try await load(database, table) == .failure(.missingTable(name: table)))
    }
}
