// SPDX-License-Identifier: Apache-2.0

/// Whether ClickHouse gathers inserts before it writes them (https://clickhouse.com/docs/optimize/asynchronous-inserts).
/// Either way, its answer comes when the rows are in the table.
public enum AsyncInsert: String, CaseIterable, Sendable {
    /// Small batches asynchronously, so that those of many servers become one part; large ones, and all where a retry would
    /// be stored twice, not reach the table's views, or neither can be known, synchronously.
    case automatic = "auto"
    /// Always.
    case always = "true"
    /// Never: every insert is a part of its own.
    case never = "false"

    /// From so many rows on, a part of its own costs less than the detour: an insert takes about 7 ms of ClickHouse's CPU
    /// time whatever its size, and so does the parsing and writing of 10,000 rows.
    static let largeBatch = 10_000

    func isAsynchronous(rows: Int, into schema: TableSchema) -> Bool {
        switch self {
        case .always: true
        case .never: false
        case .automatic: rows < Self.largeBatch && !schema.isSynchronousOnly
        }
    }
}
