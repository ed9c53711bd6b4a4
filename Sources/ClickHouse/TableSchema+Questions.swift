// SPDX-License-Identifier: Apache-2.0

extension TableSchema {
    /// The questions that the server asks ClickHouse besides inserting. A user with only the right to insert may not
    /// ask some of them.
    enum Question: CaseIterable, Sendable {
        case columns
        case engine
        case plainDefault
        case replicatedDefault
        case parts
        case metrics
        /// Read only if the table deduplicates inserts, since there are no fences otherwise.
        case fences

        /// The columns that are read of the rows of fences, and of parts after a crash.
        static let readColumns = FenceMarker.columns.map(\.name) + ["_part"]

        /// The table that is read.
        var name: String {
            switch self {
            case .columns: "the table's columns"
            case .engine: "system.tables"
            case .plainDefault: "system.merge_tree_settings"
            case .replicatedDefault: "system.replicated_merge_tree_settings"
            case .parts: "system.parts"
            case .metrics: "system.metrics"
            case .fences: "the rows of fences"
            }
        }

        /// The consequence of a missing answer.
        var cost: String {
            switch self {
            case .columns: "only the columns of 001_network_flows_0.sql are filled"
            case .engine:
                """
                every insert is synchronous, and neither a missing deduplication window nor failures of materialized \
                views are reported
                """
            case .plainDefault:
                """
                a deduplication window set outside the table is not detected, nor are rows that ClickHouse loses when \
                it is killed
                """
            case .replicatedDefault: "a deduplication window set outside the table is not detected"
            case .parts, .metrics: "rows that ClickHouse loses when it is killed are not detected"
            case .fences: "it cannot be settled whether ClickHouse has stored the blocks of a server that is gone"
            }
        }

        /// Returns the missing right.
        func grant(_ quotedTable: String) -> String {
            switch self {
            case .columns: "SHOW COLUMNS ON \(quotedTable)"
            case .fences: "SELECT(\(Self.readColumns.joined(separator: ", "))) ON \(quotedTable)"
            default: "SELECT ON \(name)"
            }
        }
    }

    /// Returns the answer to a question; nil, with the question added to `hidden`, if the user may not ask it.
    static func answer(
        _ question: Question, _ sql: String, _ hidden: inout [Question], of client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> String? {
        do throws(ClickHouseError) {
            return try client.query(sql)
        } catch .exception(ClickHouseError.accessDenied, _) {
            hidden.append(question)
            return nil
        }
    }
}
