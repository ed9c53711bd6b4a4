// SPDX-License-Identifier: Apache-2.0

import ClickHouse

/// What ClickHouse has of the schema.
struct InstalledSchema: Equatable, Sendable {
    /// A table or a view.
    struct Table: Equatable, Sendable {
        var engine: String
        /// The engine with its keys and settings, on one line.
        var definition = ""
        /// The columns of the sorting key, in their order.
        var sortingKey: [String] = []
        /// The SELECT of a view, as ClickHouse formats it, on one line.
        var query = ""
        /// The names of the views on the table, also of those that the user may not read.
        var views: Set<String> = []
        var columns: Set<String> = []

        /// Whether ClickHouse replicates the table through Keeper; one on shared storage is not of this kind.
        var isReplicated: Bool { engine.hasPrefix("Replicated") }
    }

    /// A right of a role.
    struct Grant: Hashable, Sendable {
        var role: String
        /// `SELECT` or `INSERT`.
        var access: String
        var database: String
        var table: String
        /// Empty for all columns.
        var column: String
    }

    var hasDatabase = false
    var tables: [String: Table] = [:]
    /// The roles' rights; nil if the user may not read them.
    var grants: Set<Grant>?
    /// The roles; nil if the user may not read them.
    var roles: Set<String>?
    /// The default deduplication window of tables that are not replicated.
    var defaultWindow = "0"
    /// The SELECT of this release's view, as ClickHouse formats it; nil if ClickHouse cannot format it.
    var currentViewQuery: String?
}

extension InstalledSchema {
    /// Reads the schema.
    ///
    /// - Parameters:
    ///   - names: The names of the database and the table.
    ///   - viewQuery: The SELECT of this release's view.
    ///   - client: A client whose own database exists.
    static func load(
        _ names: SchemaNames, viewQuery: String, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> InstalledSchema {
        var schema = InstalledSchema()
        let database = "'\(TableSchema.escaped(names.database))'"
        schema.hasDatabase = try !client.query("SELECT 1 FROM system.databases WHERE name = \(database)").isEmpty
        schema.tables = try tables(names, in: database, of: client)
        schema.defaultWindow =
            try optionalRows(
                "SELECT value FROM system.merge_tree_settings WHERE name = 'non_replicated_deduplication_window'",
                of: client
            )?.first?.first ?? "0"
        let roles = SchemaNames.roles.map { "'\($0)'" }.joined(separator: ", ")
        schema.roles = try optionalRows("SELECT name FROM system.roles WHERE name IN (\(roles))", of: client)
            .map { Set($0.map { $0[0] }) }
        schema.grants = try optionalRows(
            """
            SELECT role_name, access_type, ifNull(database, ''), ifNull(table, ''), ifNull(column, '') \
            FROM system.grants WHERE role_name IN (\(roles)) AND NOT is_partial_revoke
            """, of: client
        ).map { rows in
            Set(rows.map { Grant(role: $0[0], access: $0[1], database: $0[2], table: $0[3], column: $0[4]) })
        }
        schema.currentViewQuery = try optionalRows(
            "SELECT formatQuerySingleLine('\(TableSchema.escaped(viewQuery))')", of: client)?.first?.first
        return schema
    }

    private static func tables(
        _ names: SchemaNames, in database: String, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [String: Table] {
        let known = [
            names.table, SchemaNames.hourlyTable, SchemaNames.hourlyView, SchemaNames.distributedTable,
            SchemaNames.distributedHourlyTable,
        ].map { "'\(TableSchema.escaped($0))'" }.joined(separator: ", ")
        var tables: [String: Table] = [:]
        for row in try rows(
            """
            SELECT name, engine, replaceRegexpAll(engine_full, '\\\\s+', ' '), \
            replaceRegexpAll(sorting_key, '\\\\s+', ''), replaceRegexpAll(as_select, '\\\\s+', ' '), \
            arrayStringConcat(dependencies_table, ',') FROM system.tables WHERE database = \(database) AND name IN (\(known))
            """, of: client)
        {
            tables[row[0]] = Table(
                engine: row[1], definition: row[2], sortingKey: row[3].split(separator: ",").map(String.init),
                query: row[4], views: Set(row[5].split(separator: ",").map(String.init)))
        }
        for row in try rows(
            "SELECT table, name FROM system.columns WHERE database = \(database) AND table IN (\(known))", of: client)
        {
            tables[row[0]]?.columns.insert(row[1])
        }
        return tables
    }

    private static let codesOfAbsence = [
        ClickHouseError.unknownFunction, ClickHouseError.unknownTable, ClickHouseError.accessDenied,
    ]

    private static func rows(
        _ sql: String, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [[String]] {
        try client.query(sql + " FORMAT TabSeparatedRaw").split(separator: "\n").map {
            $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        }
    }

    /// Returns nil if the user may not read what the statement reads, or ClickHouse lacks it.
    private static func optionalRows(
        _ sql: String, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [[String]]? {
        do throws(ClickHouseError) {
            return try rows(sql, of: client)
        } catch .exception(let code, _) where Self.codesOfAbsence.contains(code) {
            return nil
        }
    }
}
