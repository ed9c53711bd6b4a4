// SPDX-License-Identifier: Apache-2.0

/// Finds out whether ClickHouse has what it says it has, after it was killed.
///
/// A MergeTree without replicas notes a batch's token in a log and then commits the batch's part. Killed in between, it has
/// the token without the rows, and takes the next attempt for a copy of what it does not have: measured, that became of one
/// in 160 inserts that were under way when ClickHouse was killed with -9 (26.9). The token says nothing more of it, so it is
/// the part that is looked for: an insert makes one part of level 0, with as many rows as the batch. Wherever something else
/// may be the reason that there is none, ClickHouse is believed.
struct CrashCheck {
    enum Verdict {
        /// Nothing speaks against what ClickHouse said.
        case stored
        /// The rows are not there.
        case missing
        /// ClickHouse has not yet looked through its own parts.
        case loading
    }

    /// A part of the same block that an attempt with a clear outcome has stored.
    struct Sibling {
        let rows: Int
        /// What the server calls itself that has it.
        let server: String?
    }

    /// When the block was taken up, so that the parts of all siblings are younger.
    private let begun: ContinuousClock.Instant
    private let siblings: [Sibling]
    /// When the first attempt began of which nobody knows whether its rows were stored; nil where there is none.
    private(set) var openSince: ContinuousClock.Instant?

    /// What must be readable for it.
    private static let questions: Set<TableSchema.Question> = [.engine, .parts, .metrics]
    /// ClickHouse removes a part that was merged eight minutes after it was made (`old_parts_lifetime`).
    private static let patience: Int64 = 400
    /// Seconds by which clocks and roundings may differ.
    private static let margin: Int64 = 10

    init(since begun: ContinuousClock.Instant = .now, siblings: [Sibling] = []) {
        self.begun = begun
        self.siblings = siblings
    }

    /// Takes note of an attempt that failed.
    mutating func note(_ error: ClickHouseError, of attempt: ContinuousClock.Instant) {
        if openSince == nil, error.leavesOutcomeOpen { openSince = attempt }
    }

    /// Asks the endpoint that has just said to have a batch.
    func verdict(
        _ batch: InsertBatch, in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> Verdict {
        guard let openSince, schema.deduplication.isSynchronousOnly else { return .stored }
        let server = client.lastServer
        let verdict = try findPart(
            of: batch, in: schema, believing: "uptime() > \(Self.seconds(since: openSince))", asking: client)
        // Behind one address, another server may have answered.
        return client.lastServer == server ? verdict : .stored
    }

    /// True where the endpoint has no part that the batch may have become, so that no attempt has stored it. An attempt that is
    /// still on its way is not seen.
    func excludesStored(
        _ batch: InsertBatch, in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) -> Bool {
        // Of replicas, another one may have it.
        guard case .plain = schema.deduplication else { return false }
        return (try? findPart(of: batch, in: schema, believing: "0", asking: client)) == .missing
    }

    /// Looks for the part of a batch that was inserted synchronously; `.stored` where a condition of SQL holds, or where it
    /// cannot be told.
    private func findPart(
        of batch: InsertBatch, in schema: TableSchema, believing condition: String,
        asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> Verdict {
        let all = Self.seconds(since: begun)
        guard !batch.isAsynchronous, all < Self.patience, !schema.hidden.contains(where: Self.questions.contains)
        else { return .stored }
        // A table with parts of other kinds splits a batch. All times are ClickHouse's own.
        let answer = try client.queryEndpoint(
            """
            SELECT multiIf(\(condition), 'believed', (SELECT any(partition_key) FROM system.tables \
            WHERE \(TableSchema.condition(on: schema.table, column: "name"))) NOT IN ('date', ''), 'believed', \
            (SELECT sum(value) FROM system.metrics \
            WHERE metric LIKE 'MergeTreeOutdatedPartsLoaderThreads%' AND metric NOT LIKE '%Threads') > 0, 'loading', \
            (SELECT toString(count()) FROM system.parts \
            WHERE \(TableSchema.condition(on: schema.table, column: "table")) AND level = 0 \
            AND rows = \(batch.rows) AND modification_time >= now() - \(all + Self.margin))) \
            FORMAT TabSeparatedRaw
            """)
        let result = String(answer.prefix { !$0.isNewline })
        guard let parts = Int(result) else { return result == "loading" ? .loading : .stored }
        // Halves of a batch have as many rows.
        let server = client.lastServer
        return parts > siblings.count { $0.rows == batch.rows && $0.server == server } ? .stored : .missing
    }

    private static func seconds(since moment: ContinuousClock.Instant) -> Int64 {
        (ContinuousClock.now - moment).components.seconds + 1
    }
}

extension ClickHouseError {
    /// Whether the rows may be in the table, with or without the error.
    var mayBeStored: Bool {
        switch self {
        case .unreachable(_, let error): failureClass == .transient && error.wasSent
        case .failingView: true
        case .exception, .unexpectedAnswer: failureClass == .transient
        case .missingTable, .missingColumns, .unreadableCredentials: false
        }
    }

    /// Whether ClickHouse may have ended while it stored the rows.
    fileprivate var leavesOutcomeOpen: Bool {
        switch self {
        case .unreachable, .unexpectedAnswer: mayBeStored
        case .exception, .failingView, .missingTable, .missingColumns, .unreadableCredentials: false
        }
    }
}
