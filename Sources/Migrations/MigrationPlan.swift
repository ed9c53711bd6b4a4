// SPDX-License-Identifier: Apache-2.0

import ClickHouse

/// What ClickHouse lacks of the schema, and the statements that add it.
public struct MigrationPlan: Equatable, Sendable {
    /// Statements that belong together.
    public struct Step: Equatable, Sendable {
        /// The file of deploy/clickhouse that has the statements, or `database`.
        public let name: String
        /// What the step does, for people.
        public let purpose: String
        /// What does not work while it has not been applied; nil if the server does not need it.
        public let cost: String?
        /// Whether the remaining steps are useful without this one.
        public let isOptional: Bool
        let statements: [SQLStatement]

        /// The statements as text.
        public var sql: [String] { statements.map(\.text) }
    }

    /// The steps, in the order in which they must be applied.
    public private(set) var steps: [Step] = []
    /// What is missing and cannot be added, with reasons and remedies.
    public private(set) var obstacles: [String] = []

    private let installed: InstalledSchema
    private let names: SchemaNames

    /// Compares a schema with that of this release.
    ///
    /// - Parameters:
    ///   - installed: What there is.
    ///   - names: The names of the database, the table and the cluster.
    ///   - parts: The parts that are made beside the table of flows.
    ///   - endpoints: The number of ClickHouse's endpoints.
    init(_ installed: InstalledSchema, _ names: SchemaNames, parts: Set<SchemaPart>, endpoints: Int = 1) {
        self.installed = installed
        self.names = names
        addDatabase()
        if let table = installed.tables[names.table] {
            if parts.contains(.columns) { addColumns(to: table) }
        } else {
            addTable(parts)
        }
        if parts.contains(.window) { addWindow() }
        if parts.contains(.rollup) { addRollup() }
        if parts.contains(.distributed) { addDistributedTables() }
        if parts.contains(.roles) { addRoles(parts) }
        if let obstacle = Self.obstacle(installed, names, endpoints: endpoints) {
            // Nothing is wrong with a schema that lacks nothing.
            obstacles = steps.isEmpty && obstacles.isEmpty ? [] : [obstacle]
            steps = []
        }
    }

    /// The SELECT of this release's view.
    static func viewQuery(_ names: SchemaNames) -> String {
        let text = SchemaFile.viewUpdates.first.map { names.applied(to: $0).text } ?? ""
        return text.firstRange(of: "MODIFY QUERY").map { String(text[$0.upperBound...]) } ?? ""
    }

    /// Returns why nothing can be changed.
    private static func obstacle(_ installed: InstalledSchema, _ names: SchemaNames, endpoints: Int) -> String? {
        if SchemaNames.otherTables.contains(names.table) {
            return
                "\(names.table) is the name of another table of the schema: set clickhouse_table to a name of its own"
        }
        if !installed.partialTables.isEmpty {
            let tables = installed.partialTables.map { "\($0.name) on \($0.servers)" }.joined(separator: ", ")
            return """
                of the \(installed.servers) servers of the cluster, not all have these tables: \(tables). A new replica needs \
                the definition of an existing one (deploy/clickhouse/006_replicated_on_cluster.sql)
                """
        }
        let isShared = installed.tables[names.table]?.engine.hasPrefix("Shared") == true
        let passesStatementsOn = isShared || installed.databaseEngine == "Replicated"
        if installed.databaseEngine == "Replicated", names.cluster != nil || installed.tables[names.table] == nil {
            return """
                the database \(names.database) passes statements on to its replicas by itself: remove clickhouse_cluster, and \
                create \(names.table) by hand as a ReplicatedSummingMergeTree, with the columns and keys of \
                deploy/clickhouse/006_replicated_on_cluster.sql
                """
        }
        if endpoints > 1, names.cluster == nil, !passesStatementsOn {
            return """
                clickhouse_endpoint names \(endpoints) endpoints, whose tables differ: name their cluster with \
                clickhouse_cluster, or run kubenetmon-server migrate for each (--clickhouse-endpoint)
                """
        }
        guard let table = installed.tables[names.table] else { return nil }
        if !table.engine.hasSuffix("MergeTree") {
            return """
                \(names.table) is a table of engine \(table.engine): set clickhouse_table to the table behind it, or change \
                that one by hand (docs/clickhouse.md)
                """
        }
        if table.isReplicated, names.cluster == nil, !passesStatementsOn {
            return """
                \(names.table) is replicated: name the ClickHouse cluster, with clickhouse_cluster: '{cluster}' or \
                --clickhouse-cluster, so that the statements reach all of its servers
                """
        }
        if !table.isReplicated, !isShared, names.cluster != nil {
            return """
                \(names.table) is not replicated, but clickhouse_cluster is set: remove it, or use another database, or make \
                the table replicated first (deploy/clickhouse/006_replicated_on_cluster.sql names the statements)
                """
        }
        return nil
    }

    // MARK: - Steps

    private mutating func addDatabase() {
        guard installed.databaseEngine == nil else { return }
        let text = "CREATE DATABASE IF NOT EXISTS \(TableSchema.quoted(names.database))"
        let clause = names.cluster.map { " ON CLUSTER '\(TableSchema.escaped($0))'" } ?? ""
        add(
            "database", "creates the database \(names.database)", cost: "nothing is stored",
            [SQLStatement(tokens: [.word(text + clause)])])
    }

    private mutating func addTable(_ parts: Set<SchemaPart>) {
        let purpose = "creates the table \(names.table)"
        guard names.cluster == nil else {
            let statements = SchemaFile.cluster.statements.filter { Self.part(of: $0) == nil }
            return add(SchemaFile.cluster.rawValue, purpose, cost: "nothing is stored", statements)
        }
        add(.table, purpose, cost: "nothing is stored")
        if parts.contains(.columns) {
            add(.columns, "adds columns of workloads, services, IPv6 addresses and openers", cost: nil)
        }
    }

    private mutating func addColumns(to table: InstalledSchema.Table) {
        guard let statement = SchemaFile.columns.statements.first else { return }
        let added = Self.addedColumns(statement)
        let missing = added.filter { !table.columns.contains($0) }
        let key = Self.sortingKey(statement)
        let outsideKey = added.filter { !missing.contains($0) && key.contains($0) && !table.sortingKey.contains($0) }
        guard outsideKey.isEmpty else {
            return obstacles.append(
                """
                the sorting key of \(self.names.table) lacks \(outsideKey.joined(separator: ", ")), and ClickHouse cannot \
                append columns that exist: it merges rows that differ in them alone
                """)
        }
        guard !missing.isEmpty else { return }
        let names = missing.joined(separator: ", ")
        // ClickHouse can append new columns to a sorting key, and removes from it what the statement does not name.
        guard key.starts(with: table.sortingKey), key.dropFirst(table.sortingKey.count).allSatisfy(missing.contains)
        else {
            return obstacles.append(
                """
                \(self.names.table) lacks the columns \(names), which cannot be added because its sorting key is not that \
                of an earlier release: compare it with ORDER BY in \(SchemaFile.columns.rawValue)
                """)
        }
        add(
            SchemaFile.columns.rawValue, "adds the columns \(names)", cost: "rows lack the columns \(names)",
            [self.names.onCluster(statement)])
    }

    private mutating func addWindow() {
        guard names.cluster == nil else { return }
        if let table = installed.tables[names.table] {
            let window = TableSchema.Deduplication(
                engine: table.engine, definition: table.definition, plainDefault: installed.defaultWindow,
                replicatedDefault: "")
            guard case .plain(window: 0) = window else { return }
        }
        add(
            .window, "lets \(names.table) store a batch once that is sent again",
            // TableSchema has a warning of its own.
            cost: nil, isOptional: true)
    }

    private mutating func addRollup() {
        let view = installed.tables[SchemaNames.hourlyView]
        if let view, !view.query.contains(Self.source(of: names)) {
            return obstacles.append(
                """
                \(SchemaNames.hourlyView) reads another table than \(names.table): use another database for \
                \(names.table), or leave rollup out of clickhouse_schema
                """)
        }
        let isMissing = view == nil || installed.tables[SchemaNames.hourlyTable] == nil
        // A user that may not read the view and its table learns only that there is such a view.
        let isHidden = view == nil && installed.tables[names.table]?.views.contains(SchemaNames.hourlyView) == true
        guard !isHidden, isMissing || view?.query != installed.currentViewQuery else { return }
        if !isMissing, let view, let current = installed.currentViewQuery,
            Self.skeleton(of: view.query) != Self.skeleton(of: current)
        {
            return obstacles.append(
                """
                the SELECT of \(SchemaNames.hourlyView) is neither that of this release nor that of an earlier one, and is \
                left as it is: change it as ALTER TABLE … MODIFY QUERY of \(SchemaFile.rollup.rawValue) does, or leave rollup \
                out of clickhouse_schema
                """)
        }
        let lacking = columnsThatTheViewLacks
        guard lacking.isEmpty else {
            return obstacles.append(
                """
                \(SchemaNames.hourlyView) needs columns that \(names.table) lacks: \(lacking.joined(separator: ", ")); add \
                them, or leave rollup out of clickhouse_schema
                """)
        }
        let (purpose, cost) =
            isMissing
            ? ("creates the hourly rollup \(SchemaNames.hourlyTable)", "the rollup for metering and costs gets no rows")
            : ("gives the rollup's view the SELECT of this release", "bytesOnce of the rollup may lack bytes")
        if names.cluster == nil { return add(.rollup, purpose, cost: cost) }
        if isMissing {
            let statements = SchemaFile.cluster.statements.filter { Self.part(of: $0) == .rollup }
            add(SchemaFile.cluster.rawValue, purpose, cost: cost, statements)
        } else {
            add(SchemaFile.rollup.rawValue, purpose, cost: cost, SchemaFile.viewUpdates.map(names.onCluster))
        }
    }

    /// Returns what the SELECTs of all releases have in common: they differ in the hour's time zone and in the rule that
    /// counts a byte once.
    private static func skeleton(of query: String) -> String {
        query.replacing(/^WITH .*? AS is_once (?=SELECT )/, with: "")
            .replacing(/toStartOfHour\([^)]*\)/, with: "toStartOfHour")
            .replacing(/sumIf\(flows\.(?:bytes|packets), .*?\) AS (?=bytesOnce|packetsOnce)/, with: "sumIf AS ")
    }

    /// The columns of ``SchemaFile/columns`` that the view reads, and that the table has neither now nor after the steps.
    private var columnsThatTheViewLacks: [String] {
        let files = [SchemaFile.columns, .cluster].map(\.rawValue)
        guard !steps.contains(where: { files.contains($0.name) }) else { return [] }
        let columns = installed.tables[names.table]?.columns ?? []
        return Self.columnsOfView.filter { !columns.contains($0) }
    }

    private mutating func addDistributedTables() {
        guard names.cluster != nil else {
            return obstacles.append(
                "tables over all shards (distributed in clickhouse_schema) need the name of the cluster: set clickhouse_cluster"
            )
        }
        let hasRollup =
            installed.tables[SchemaNames.hourlyTable] != nil
            || steps.contains { $0.statements.contains { Self.part(of: $0) == .rollup } }
        let pairs =
            [(SchemaNames.distributedTable, names.table)]
            + (hasRollup ? [(SchemaNames.distributedHourlyTable, SchemaNames.hourlyTable)] : [])
        for (table, _) in pairs {
            // Replacing a table of another engine would drop its rows.
            guard let engine = installed.tables[table]?.engine, engine != "Distributed" else { continue }
            return obstacles.append(
                "\(table) is a table of engine \(engine), and is left as it is: rename it, or leave distributed out of "
                    + "clickhouse_schema")
        }
        let isUpToDate = pairs.allSatisfy { table, source in
            installed.tables[table].map { $0.columns == installed.tables[source]?.columns } ?? false
        }
        guard !isUpToDate || steps.contains(where: { $0.name == SchemaFile.columns.rawValue }) else { return }
        add(
            SchemaFile.distributed.rawValue, "creates the tables that read all shards", cost: nil,
            SchemaFile.distributed.statements.filter { statement in
                !statement.words.starts(with: ["GRANT"]) && pairs.contains { statement.words.contains($0.0) }
            }, isOptional: true)
    }

    private mutating func addRoles(_ parts: Set<SchemaPart>) {
        let files: [SchemaFile] = names.cluster == nil ? [.roles] : [.cluster, .distributed]
        let named = Set(parts.contains(.rollup) ? [] : [SchemaNames.hourlyTable, SchemaNames.distributedHourlyTable])
            .union(
                parts.contains(.distributed) ? [] : [SchemaNames.distributedTable, SchemaNames.distributedHourlyTable])
        let statements = files.flatMap(\.statements).filter {
            Self.part(of: $0) == .roles && named.isDisjoint(with: $0.words)
        }
        let wanted = statements.filter { $0.words.starts(with: ["GRANT"]) }.map { Self.grants(names.applied(to: $0)) }
        // A user that may not read roles may not make them either.
        guard let roles = installed.roles, let grants = installed.grants else { return }
        let isComplete = wanted.allSatisfy { wanted in
            !wanted.isEmpty && wanted.allSatisfy { grant in grants.contains { $0.includes(grant) } }
        }
        if isComplete, roles.isSuperset(of: SchemaNames.roles) { return }
        add(
            files[0].rawValue, "creates the roles \(SchemaNames.roles.joined(separator: " and "))", cost: nil,
            statements,
            isOptional: true)
    }

    private mutating func add(_ file: SchemaFile, _ purpose: String, cost: String?, isOptional: Bool = false) {
        add(file.rawValue, purpose, cost: cost, file.statements, isOptional: isOptional)
    }

    private mutating func add(
        _ name: String, _ purpose: String, cost: String?, _ statements: [SQLStatement], isOptional: Bool = false
    ) {
        steps.append(
            Step(
                name: name, purpose: purpose, cost: cost, isOptional: isOptional,
                statements: statements.map(names.applied)))
    }

    // MARK: - What statements are about

    /// Returns the part of the schema that a statement makes; nil for the table of flows.
    private static func part(of statement: SQLStatement) -> SchemaPart? {
        let words = statement.words
        if words.starts(with: ["GRANT"]) || words.starts(with: ["CREATE", "ROLE"]) { return .roles }
        return words.contains(SchemaNames.hourlyTable) ? .rollup : nil
    }

    /// Returns the table of flows as ClickHouse writes it in the SELECT of a view.
    private static func source(of names: SchemaNames) -> String {
        func formatted(_ name: String) -> String {
            let isPlain = name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            return isPlain && name.first?.isNumber == false ? name : TableSchema.quoted(name)
        }
        return " FROM \(formatted(names.database)).\(formatted(names.table)) "
    }

    /// The columns of ``SchemaFile/columns`` that the view reads.
    private static var columnsOfView: [String] {
        let read = Set(SchemaFile.viewUpdates.flatMap(\.words))
        return SchemaFile.columns.statements.flatMap(addedColumns).filter(read.contains)
    }

    private static func addedColumns(_ statement: SQLStatement) -> [String] {
        // ADD COLUMN IF NOT EXISTS `name`
        zip(statement.words, statement.words.dropFirst()).compactMap { $0 == "EXISTS" ? $1 : nil }
    }

    private static func sortingKey(_ statement: SQLStatement) -> [String] {
        guard let start = statement.words.lastIndex(of: "BY") else { return [] }
        return Array(statement.words[(start + 1)...])
    }

    /// Returns the rights that a statement gives: `GRANT [ON CLUSTER …] SELECT[(columns)] ON table TO role`.
    private static func grants(_ statement: SQLStatement) -> [InstalledSchema.Grant] {
        let text = statement.text
        guard
            let match = text.firstMatch(
                of: /^GRANT (?:ON CLUSTER '[^']*' )?(\w+)(?:\(([^)]*)\))? ON `?([^`.]+)`?\.`?([^`]+?)`? TO (\w+)$/)
        else { return [] }
        let columns = match.2.map { $0.split(separator: ",").map { String($0.drop { $0.isWhitespace }) } } ?? [""]
        return columns.map {
            InstalledSchema.Grant(
                role: String(match.5), access: String(match.1), database: String(match.3), table: String(match.4),
                column: $0)
        }
    }
}
