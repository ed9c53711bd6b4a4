// SPDX-License-Identifier: Apache-2.0

public import FlowBlocks

/// The columns of the table that rows can fill, and the table's handling of a batch that arrives twice.
public struct TableSchema: Equatable, Sendable {
    /// The default name of the table; its database is the client's.
    public static let defaultTable = "network_flows_0"

    /// The table's name.
    public let table: String
    /// The handling of a batch that arrives twice.
    let deduplication: Deduplication
    /// The materialized views on the table, as far as the server's user may see them.
    let views: [String]
    /// ClickHouse's version, such as `26.9.2.1`.
    let serverVersion: String
    /// The engine and the keys of the table.
    let layout: Layout
    /// The questions that the server's user may not ask.
    let hidden: [Question]
    let columns: [FlowColumn]

    /// The form in which the table stores rows.
    public let form: BlockForm

    /// Reads the table's schema from ClickHouse. Throws ``ClickHouseError/missingTable(name:)``,
    /// ``ClickHouseError/missingColumns(table:columns:)`` and the errors of queries.
    public static func load(
        table: String = defaultTable, of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> TableSchema {
        var hidden: [Question] = []
        let version = try client.query("SELECT version() FORMAT TabSeparatedRaw")
        let columns = try columnNames(of: table, &hidden, of: client)
        let (deduplication, layout, views) = try loadEngine(table, &hidden, of: client)
        if case .plain(let window) = deduplication, window > 0,
            FenceMarker.columns.allSatisfy({ columns.contains($0.name) })
        {
            let names = Question.readColumns.joined(separator: ", ")
            _ = try answer(.fences, "SELECT \(names) FROM \(quoted(table)) LIMIT 0", &hidden, of: client)
        }
        for (question, name) in [(Question.parts, "parts"), (.metrics, "metrics")] {
            _ = try answer(question, "SELECT 1 FROM system.\(name) LIMIT 0", &hidden, of: client)
        }
        return try TableSchema(
            table: table, columnNames: columns, deduplication: deduplication, layout: layout, views: views,
            serverVersion: String(version.prefix { !$0.isNewline }), hidden: hidden)
    }

    /// Returns whether the table has other columns now. Throws the errors of ``load(table:of:)``.
    public func hasChanged(asking client: borrowing ClickHouseClient) throws(ClickHouseError) -> Bool {
        var hidden: [Question] = []
        let names = try Self.columnNames(of: table, &hidden, of: client)
        return columns != FlowColumn.allCases.filter { names.contains($0.name) }
    }

    private static func columnNames(
        of table: String, _ hidden: inout [Question], of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [String] {
        do throws(ClickHouseError) {
            return try answer(.columns, "DESCRIBE TABLE \(quoted(table)) FORMAT TabSeparated", &hidden, of: client)
                .map(insertableColumns) ?? FlowColumn.original.map(\.name)
        } catch .exception(ClickHouseError.unknownTable, _) {
            throw .missingTable(name: table)
        }
    }

    /// Returns the names of the columns that an insert may fill, from the response to `DESCRIBE TABLE`.
    private static func insertableColumns(_ description: String) -> [String] {
        description.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: "\t", maxSplits: 3, omittingEmptySubsequences: false)
            guard fields.count > 2, !["MATERIALIZED", "ALIAS", "EPHEMERAL"].contains(fields[2]) else { return nil }
            return String(fields[0])
        }
    }

    private static func loadEngine(
        _ table: String, _ hidden: inout [Question], of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> (Deduplication, Layout, views: [String]) {
        /// Returns the server's default window, or ClickHouse's default if the server's is hidden.
        func window(_ question: Question, _ setting: String, _ usual: String) throws(ClickHouseError) -> String {
            let sql = "SELECT value FROM \(question.name) WHERE name = '\(setting)' FORMAT TabSeparatedRaw"
            return String((try answer(question, sql, &hidden, of: client) ?? usual).prefix { !$0.isNewline })
        }
        let engine = try answer(
            .engine,
            """
            SELECT engine, replaceRegexpAll(engine_full, '\\\\s', ' '), \
            replaceRegexpAll(partition_key, '\\\\s', ' '), replaceRegexpAll(sorting_key, '\\\\s', ' '), \
            arrayStringConcat(arrayMap((d, t) -> d || '.' || t, dependencies_database, dependencies_table), '\\n') \
            FROM system.tables \
            WHERE \(condition(on: table, column: "name")) FORMAT TabSeparatedRaw
            """, &hidden, of: client)
        guard let engine else { return (.hidden, .usual, []) }
        let fields = engine.split(separator: "\t", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
        guard fields.count == 5 else {
            hidden.append(.engine)
            return (.hidden, .usual, [])
        }
        let deduplication = Deduplication(
            engine: fields[0], definition: fields[1],
            plainDefault: try window(.plainDefault, Deduplication.plainSetting, "0"),
            replicatedDefault: try window(.replicatedDefault, Deduplication.replicatedSetting, "10000"))
        let layout = Layout(
            engine: fields[0], definition: fields[1], partitionKey: fields[2], sortingKey: fields[3])
        return (deduplication, layout, fields[4].split(whereSeparator: \.isNewline).map(String.init).sorted())
    }

    init(
        table: String, columnNames: [String], deduplication: Deduplication = .plain(window: 0), layout: Layout = .usual,
        views: [String] = [], serverVersion: String = "", hidden: [Question] = []
    ) throws(ClickHouseError) {
        guard !columnNames.isEmpty else { throw .missingTable(name: table) }
        self.table = table
        self.deduplication = deduplication
        self.layout = layout
        self.views = views
        self.serverVersion = serverVersion
        self.hidden = hidden
        columns = FlowColumn.allCases.filter { columnNames.contains($0.name) }
        form = BlockForm(columns: columns)
        let missing = FlowColumn.required.filter { !columns.contains($0) }
        guard missing.isEmpty else {
            throw .missingColumns(table: table, columns: missing.map(\.name))
        }
    }

    /// The statement of inserts.
    var insertStatement: String { insertStatement(of: columns) }

    /// Returns the statement of inserts that fill these columns.
    func insertStatement(of columns: [FlowColumn]) -> String {
        let names = columns.map { "`\($0.name)`" }.joined(separator: ", ")
        return "INSERT INTO \(quotedTable) (\(names)) FORMAT Native"
    }

    var quotedTable: String { Self.quoted(table) }

    /// Returns a name in backquotes.
    package static func quoted(_ table: String) -> String {
        "`\(table.replacing("\\", with: "\\\\").replacing("`", with: "\\`"))`"
    }

    /// Whether ClickHouse is of this release or a newer one; false if its version is unknown.
    func isServer(atLeast major: Int, _ minor: Int) -> Bool {
        let version = serverVersion.split(separator: ".").prefix(2).compactMap { Int($0) }
        return version.count == 2 && (version[0], version[1]) >= (major, minor)
    }

    /// Whether ClickHouse supports `materialized_views_ignore_errors`.
    var knowsIgnoringViews: Bool { serverVersion.isEmpty || isServer(atLeast: 23, 3) }

    /// Returns the condition that selects the table in a system table; `column` is the column of table names.
    static func condition(on table: String, column: String) -> String {
        "database = currentDatabase() AND \(column) = '\(escaped(table))'"
    }

    /// Returns a text as it stands between the single quotes of a literal.
    package static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
    }
}
