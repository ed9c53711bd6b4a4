// SPDX-License-Identifier: Apache-2.0

/// Whether ClickHouse collects inserts before it writes them
/// (https://clickhouse.com/docs/optimize/asynchronous-inserts). Either way, it responds once the rows are in the table.
public enum AsyncInsert: String, CaseIterable, Sendable {
    /// Small batches are inserted asynchronously, so that those of many servers become one part. Large batches are
    /// inserted synchronously; so are all batches if a retry would be stored twice or not reach the table's views, or
    /// if neither can be known.
    case automatic = "auto"
    /// Every insert is asynchronous.
    case always = "true"
    /// Every insert is synchronous and makes a part of its own.
    case never = "false"

    /// The number of rows from which a part of its own costs less than the asynchronous insert: an insert takes about 7
    /// ms of ClickHouse's CPU time whatever its size, and so does parsing and writing 10,000 rows.
    static let largeBatch = 10_000

    func isAsynchronous(rows: Int, into schema: TableSchema) -> Bool {
        switch self {
        case .always: true
        case .never: false
        case .automatic: rows < Self.largeBatch && !schema.isSynchronousOnly
        }
    }
}
