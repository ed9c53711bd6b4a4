// SPDX-License-Identifier: Apache-2.0

/// Checks whether ClickHouse has a batch that it reports as stored, after it may have been killed.
///
/// A MergeTree without replicas logs a batch's token and then commits the batch's part. If ClickHouse is killed between
/// the two, it has the token without the rows, and rejects the retry as a duplicate although the rows are missing:
/// measured, this happened to one in 160 inserts in flight when ClickHouse was killed with -9 (26.9). The token cannot
/// reveal it, so the check looks for the part: an insert makes one part of level 0 with as many rows as the batch. If
/// there may be another reason why that part is missing, ClickHouse's response is believed.
struct CrashCheck {
    /// A batch of the same block that an attempt with a known outcome has stored.
    struct Sibling {
        let rows: Int
        /// The display name of the server that stored it.
        let server: String?
    }

    /// The time at which a worker took the block; the parts of all siblings are younger.
    private let begun: ContinuousClock.Instant
    private let siblings: [Sibling]
    /// The start of the first attempt with an unknown outcome; nil if there is none.
    private(set) var openSince: ContinuousClock.Instant?

    /// The questions that the server's user must be allowed to ask for this check.
    private static let questions: Set<TableSchema.Question> = [.engine, .parts, .metrics]
    /// The age in seconds beyond which no part is looked for: ClickHouse removes a merged part eight minutes after it
    /// was made (`old_parts_lifetime`).
    private static let patience: Int64 = 400
    /// Tolerance for differences of clocks and rounding, in seconds.
    private static let margin: Int64 = 10

    init(since begun: ContinuousClock.Instant = .now, siblings: [Sibling] = []) {
        self.begun = begun
        self.siblings = siblings
    }

    /// Records a failed attempt.
    mutating func note(_ error: ClickHouseError, of attempt: ContinuousClock.Instant) {
        if openSince == nil, error.leavesOutcomeOpen { openSince = attempt }
    }

    /// Checks a batch on the endpoint that has just reported it as stored.
    func verdict(
        _ batch: InsertBatch, in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> StoredCheck.Verdict {
        guard let openSince, schema.deduplication.isSynchronousOnly else { return .stored }
        let server = client.lastServer
        let verdict = try findPart(
            of: batch, in: schema, believing: "uptime() > \(Self.seconds(since: openSince))", asking: client)
        // If another server behind the same address responded, its parts say nothing about the first one's.
        return client.lastServer == server ? verdict : .stored
    }

    /// Returns true if the endpoint has no part that could be the batch, so that no attempt has stored it. An attempt
    /// still in flight is not seen.
    func excludesStored(
        _ batch: InsertBatch, in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) -> Bool {
        // With replicas, another one may have it.
        guard case .plain = schema.deduplication else { return false }
        return (try? findPart(of: batch, in: schema, believing: "0", asking: client)) == .missing
    }

    /// Looks for the part of a batch that was inserted synchronously. Returns `.stored` if the SQL condition holds or
    /// if it cannot be determined.
    private func findPart(
        of batch: InsertBatch, in schema: TableSchema, believing condition: String,
        asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> StoredCheck.Verdict {
        let all = Self.seconds(since: begun)
        guard !batch.isAsynchronous, all < Self.patience, !schema.hidden.contains(where: Self.questions.contains)
        else { return .stored }
        // A table with another partition key splits a batch into several parts. All times are ClickHouse's own.
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
        // Halves of a batch may have the same number of rows.
        let server = client.lastServer
        return parts > siblings.count { $0.rows == batch.rows && $0.server == server } ? .stored : .missing
    }

    private static func seconds(since moment: ContinuousClock.Instant) -> Int64 {
        (ContinuousClock.now - moment).components.seconds + 1
    }
}

extension ClickHouseError {
    /// Whether the rows may be in the table despite the error.
    var mayBeStored: Bool {
        switch self {
        case .unreachable(_, let error): failureClass == .transient && error.wasSent
        case .failingView: true
        case .exception, .unexpectedAnswer: failureClass == .transient
        case .missingTable, .missingColumns, .unreadableCredentials: false
        }
    }

    /// Whether ClickHouse may have been killed while it stored the rows.
    fileprivate var leavesOutcomeOpen: Bool {
        switch self {
        case .unreachable, .unexpectedAnswer: mayBeStored
        case .exception, .failingView, .missingTable, .missingColumns, .unreadableCredentials: false
        }
    }
}
