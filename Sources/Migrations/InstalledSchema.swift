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

        /// Whether a right covers another one: it may be for all tables of a database, or for everything.
        func includes(_ other: Grant) -> Bool {
            role == other.role && access == other.access && (database.isEmpty || database == other.database)
                && (table.isEmpty || table == other.table) && (column.isEmpty || column == other.column)
        }
    }

    /// The database's engine; nil if there is no database.
    var databaseEngine: String?
    var tables: [String: Table] = [:]
    /// The roles' rights; nil if the user may not read them.
    var grants: Set<Grant>?
    /// The roles; nil if the user may not read them.
    var roles: Set<String>?
    /// The default deduplication window of tables that are not replicated.
    var defaultWindow = "0"
    /// The SELECT of this release's view, as ClickHouse formats it; nil if ClickHouse cannot format it.
    var currentViewQuery: String?
    /// The number of servers of the cluster; 0 without one.
    var servers = 0
    /// The number of servers that have each table; empty without a cluster.
    var serversWithTable: [String: Int] = [:]

    /// The tables that some servers of the cluster lack, each with the number of those that have it.
    var partialTables: [(name: String, servers: Int)] {
        serversWithTable.filter { $0.value < servers }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
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
        schema.databaseEngine = try rows(
            "SELECT engine FROM system.databases WHERE name = \(database)", of: client
        ).first?[0]
        schema.tables = try tables(names, in: database, of: client)
        if let cluster = names.cluster {
            let cluster = "'\(TableSchema.escaped(cluster))'"
            let count = try rows("SELECT count() FROM clusterAllReplicas(\(cluster), system.one)", of: client)
            schema.servers = count.first.flatMap { Int($0[0]) } ?? 0
            for row in try rows(
                """
                SELECT name, toString(count()) FROM clusterAllReplicas(\(cluster), system.tables) \
                WHERE database = \(database) AND name IN (\(known(names))) GROUP BY name
                """, columns: 2, of: client)
            {
                schema.serversWithTable[row[0]] = Int(row[1])
            }
        }
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
            Set(
                rows.filter { $0.count == 5 }.map {
                    Grant(role: $0[0], access: $0[1], database: $0[2], table: $0[3], column: $0[4])
                })
        }
        schema.currentViewQuery = try optionalRows(
            "SELECT formatQuerySingleLine('\(TableSchema.escaped(viewQuery))')", of: client)?.first?.first
        return schema
    }

    /// The names of all tables, as literals.
    private static func known(_ names: SchemaNames) -> String {
        ([names.table] + SchemaNames.otherTables).map { "'\(TableSchema.escaped($0))'" }.joined(separator: ", ")
    }

    private static func tables(
        _ names: SchemaNames, in database: String, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [String: Table] {
        let known = known(names)
        var tables: [String: Table] = [:]
        for row in try rows(
            """
            SELECT name, engine, replaceRegexpAll(engine_full, '\\\\s+', ' '), \
            replaceRegexpAll(sorting_key, '\\\\s+', ''), replaceRegexpAll(as_select, '\\\\s+', ' '), \
            arrayStringConcat(dependencies_table, ',') FROM system.tables WHERE database = \(database) AND name IN (\(known))
            """, columns: 6, of: client)
        {
            tables[row[0]] = Table(
                engine: row[1], definition: row[2], sortingKey: row[3].split(separator: ",").map(String.init),
                query: row[4], views: Set(row[5].split(separator: ",").map(String.init)))
        }
        for row in try rows(
            "SELECT table, name FROM system.columns WHERE database = \(database) AND table IN (\(known))", columns: 2,
            of: client)
        {
            tables[row[0]]?.columns.insert(row[1])
        }
        return tables
    }

    private static let codesOfAbsence = [
        ClickHouseError.unknownFunction, ClickHouseError.unknownTable, ClickHouseError.accessDenied,
    ]

    /// Returns the rows of a query, each with at least as many fields as `columns`.
    private static func rows(
        _ sql: String, columns: Int = 1, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [[String]] {
        // Otherwise an exception that comes after the first rows would be taken for one.
        let settings = [(name: "wait_end_of_query", value: "1")]
        let rows = try client.query(sql + " FORMAT TabSeparatedRaw", settings: settings).split(separator: "\n").map {
            $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        }
        if let row = rows.first(where: { $0.count < columns }) {
            throw .unexpectedAnswer(endpoint: "ClickHouse", status: 200, body: row.joined(separator: " "))
        }
        return rows
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
