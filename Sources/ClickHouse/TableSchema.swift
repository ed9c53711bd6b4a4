// SPDX-License-Identifier: Apache-2.0

/// Which of the columns that rows can fill the table has, and what the table does with a batch that comes twice.
public struct TableSchema: Equatable, Sendable {
    /// The table's name; its database is the client's.
    public static let defaultTable = "network_flows_0"

    /// The table's name.
    public let table: String
    /// What happens to a batch that comes twice.
    public let deduplication: Deduplication
    /// ClickHouse's version, such as `26.9.2.1`.
    public let serverVersion: String
    let columns: [FlowColumn]

    /// Whether flows between IPv6 addresses can be told apart in the table.
    public var hasIPv6: Bool { columns.contains(.localIPv6) && columns.contains(.remoteIPv6) }

    /// Asks ClickHouse for the table. Throws ``ClickHouseError/missingTable(name:)`` and
    /// ``ClickHouseError/missingColumns(table:columns:)``, and what keeps ClickHouse from answering.
    public static func load(
        table: String = defaultTable, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> TableSchema {
        let columns = try client.query(
            """
            SELECT name FROM system.columns WHERE \(condition(on: table, column: "table")) \
            AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') FORMAT TabSeparatedRaw
            """)
        let engine = try client.query(
            """
            SELECT version(), engine, replaceRegexpAll(engine_full, '\\\\s', ' '), \
            (SELECT any(value) FROM system.merge_tree_settings WHERE name = '\(Deduplication.plainSetting)'), \
            (SELECT any(value) FROM system.replicated_merge_tree_settings \
            WHERE name = '\(Deduplication.replicatedSetting)') \
            FROM system.tables WHERE \(condition(on: table, column: "name")) FORMAT TabSeparatedRaw
            """)
        let parts = engine.split(separator: "\n").first.map {
            $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        }
        guard let parts, parts.count == 5 else { throw .missingTable(name: table) }
        return try TableSchema(
            table: table, columnNames: columns.split(separator: "\n").map(String.init),
            deduplication: Deduplication(
                engine: parts[1], definition: parts[2], plainDefault: parts[3], replicatedDefault: parts[4]),
            serverVersion: parts[0])
    }

    init(
        table: String, columnNames: [String], deduplication: Deduplication = .plain(window: 0),
        serverVersion: String = ""
    ) throws(ClickHouseError) {
        guard !columnNames.isEmpty else { throw .missingTable(name: table) }
        self.table = table
        self.deduplication = deduplication
        self.serverVersion = serverVersion
        columns = FlowColumn.allCases.filter { columnNames.contains($0.rawValue) }
        let missing = FlowColumn.required.filter { !columns.contains($0) }
        guard missing.isEmpty else {
            throw .missingColumns(table: table, columns: missing.map(\.rawValue))
        }
    }

    /// The statement that rows are sent with.
    var insertStatement: String {
        let names = columns.map { "`\($0.rawValue)`" }.joined(separator: ", ")
        return "INSERT INTO \(quotedTable) (\(names)) FORMAT Native"
    }

    var quotedTable: String { "`\(table.replacing("\\", with: "\\\\").replacing("`", with: "\\`"))`" }

    /// What selects the table in a system table whose column of table names has this name.
    static func condition(on table: String, column: String) -> String {
        "database = currentDatabase() AND \(column) = '\(escaped(table))'"
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
    }
}
