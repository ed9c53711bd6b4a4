// SPDX-License-Identifier: Apache-2.0

/// Which of the columns that rows can fill the table has.
public struct TableSchema: Equatable, Sendable {
    /// The table's name; its database is the client's.
    public static let defaultTable = "network_flows_0"

    let table: String
    let columns: [FlowColumn]

    /// Whether flows between IPv6 addresses can be told apart in the table.
    public var hasIPv6: Bool { columns.contains(.localIPv6) && columns.contains(.remoteIPv6) }

    /// Asks ClickHouse for the table's columns. Throws ``ClickHouseError/missingTable(name:)`` and
    /// ``ClickHouseError/missingColumns(table:columns:)``, and what keeps ClickHouse from answering.
    public static func load(
        table: String = defaultTable, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> TableSchema {
        let answer = try client.query(
            """
            SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '\(escaped(table))' \
            AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') FORMAT TabSeparatedRaw
            """)
        return try TableSchema(table: table, columnNames: answer.split(separator: "\n").map(String.init))
    }

    init(table: String, columnNames: [String]) throws(ClickHouseError) {
        guard !columnNames.isEmpty else { throw .missingTable(name: table) }
        self.table = table
        columns = FlowColumn.allCases.filter { columnNames.contains($0.rawValue) }
        let missing = FlowColumn.required.filter { !columns.contains($0) }
        guard missing.isEmpty else {
            throw .missingColumns(table: table, columns: missing.map(\.rawValue))
        }
    }

    /// The statement that rows are sent with.
    var insertStatement: String {
        let names = columns.map { "`\($0.rawValue)`" }.joined(separator: ", ")
        return "INSERT INTO `\(table)` (\(names)) FORMAT Native"
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
    }
}
