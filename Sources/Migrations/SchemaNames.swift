// SPDX-License-Identifier: Apache-2.0

import ClickHouse

/// The database, the table and the cluster that the statements of deploy/clickhouse are applied to.
struct SchemaNames: Equatable, Sendable {
    /// The database of all tables.
    var database: String
    /// The table of flows.
    var table: String
    /// The ClickHouse cluster whose servers all run the statements; nil for a single server, or one that passes them on
    /// by itself.
    var cluster: String?

    static let hourlyTable = "network_flows_hourly"
    static let hourlyView = "network_flows_hourly_view"
    static let distributedTable = "network_flows_all"
    static let distributedHourlyTable = "network_flows_hourly_all"
    /// The tables and views beside the table of flows.
    static let otherTables = [hourlyTable, hourlyView, distributedTable, distributedHourlyTable]
    /// The roles of ``SchemaFile/roles``: `CREATE ROLE IF NOT EXISTS name`.
    static let roles = SchemaFile.roles.statements.map(\.words).filter { $0.starts(with: ["CREATE", "ROLE"]) }
        .compactMap { $0.dropFirst(5).first }

    /// The names in the files, with those that replace them.
    private var tables: [String: String] {
        Dictionary(uniqueKeysWithValues: Self.otherTables.map { ($0, $0) })
            .merging([TableSchema.defaultTable: table]) { $1 }
    }

    /// Returns a statement of the files with these names. Tables have their database, so that the statement means the same
    /// in every session.
    func applied(to statement: SQLStatement) -> SQLStatement {
        let (tables, isDistributed) = (tables, statement.words.contains("Distributed"))
        var isAfterDot = false
        var result = SQLStatement(tokens: [])
        for token in statement.tokens {
            switch token {
            case .word(let name), .quotedName(let name):
                if let table = tables[name], !isAfterDot {
                    result.tokens += [Self.quotedName(database), .other("."), Self.quotedName(table)]
                } else {
                    result.tokens.append(token)
                }
            case .literal("{cluster}"):
                result.tokens.append(.literal(TableSchema.escaped(cluster ?? "{cluster}")))
            case .literal("default") where isDistributed:
                result.tokens.append(.literal(TableSchema.escaped(database)))
            case .literal(let text) where isDistributed:
                result.tokens.append(.literal(TableSchema.escaped(tables[text] ?? text)))
            case .literal, .other: result.tokens.append(token)
            }
            isAfterDot = token == .other(".")
        }
        return result
    }

    private static func quotedName(_ name: String) -> SQLStatement.Token {
        .quotedName(String(TableSchema.quoted(name).dropFirst().dropLast()))
    }

    /// Returns an `ALTER TABLE` statement of the files for all servers of the cluster, if there is one.
    func onCluster(_ statement: SQLStatement) -> SQLStatement {
        guard cluster != nil, let name = statement.tokens.firstIndex(where: { tables[$0.text] != nil }) else {
            return statement
        }
        var result = statement
        let clause = SQLStatement.statements(of: " ON CLUSTER '{cluster}'").flatMap(\.tokens)
        result.tokens.insert(contentsOf: [.other(" ")] + clause, at: name + 1)
        return result
    }
}
