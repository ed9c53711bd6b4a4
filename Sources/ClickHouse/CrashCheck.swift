// SPDX-License-Identifier: Apache-2.0

/// Finds out whether ClickHouse has what it says it has, after it was killed.
///
/// A MergeTree without replicas notes a batch's token in a log and then commits the batch's part. Killed in between, it has
/// the token without the rows, and takes the next attempt for a copy of what it does not have: measured, that became of one
/// in 160 inserts that were under way when ClickHouse was killed with -9 (26.9). The token says nothing more of it, so it is
/// the part that is looked for: an insert makes one part of level 0, with as many rows as the batch.
struct CrashCheck {
    /// When the first attempt began of which nobody knows whether its rows were stored; nil where there is none.
    private(set) var openSince: ContinuousClock.Instant?

    /// Takes note of an attempt that failed.
    mutating func note(_ error: ClickHouseError, of attempt: ContinuousClock.Instant) {
        if openSince == nil, error.leavesOutcomeOpen { openSince = attempt }
    }

    /// Whether ClickHouse has started again since the first open attempt, and has no part that could be the batch's.
    ///
    /// - Parameters:
    ///   - batch: A batch that ClickHouse has just said to have.
    ///   - schema: Its table.
    ///   - client: Asks the endpoint that said so.
    func hasLost(
        _ batch: InsertBatch, in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> Bool {
        guard let openSince, schema.deduplication.isSynchronousOnly, !batch.isAsynchronous else { return false }
        let seconds = (ContinuousClock.now - openSince).components.seconds + 1
        // Both times are ClickHouse's own. Parts that were merged are listed for minutes.
        let answer = try client.queryEndpoint(
            """
            SELECT uptime() <= \(seconds), (SELECT count() FROM system.parts WHERE database = currentDatabase() \
            AND table = '\(schema.escapedTable)' AND level = 0 AND rows = \(batch.rows) \
            AND modification_time >= now() - \(seconds + Self.margin)) FORMAT TabSeparatedRaw
            """)
        return answer == "1\t0\n"
    }

    /// Seconds by which clocks and roundings may differ.
    private static let margin: Int64 = 10
}

extension ClickHouseError {
    /// Whether the rows may be in the table all the same.
    fileprivate var leavesOutcomeOpen: Bool {
        switch self {
        case .unreachable, .unexpectedAnswer: failureClass == .transient
        case .exception, .missingTable, .missingColumns, .unreadableCredentials: false
        }
    }
}
