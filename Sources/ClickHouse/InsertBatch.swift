// SPDX-License-Identifier: Apache-2.0

import FlowBlocks

/// A block or a part of it as it is sent: every attempt has the same bytes, settings and token, so that ClickHouse can
/// deduplicate it.
struct InsertBatch: Sendable {
    let statement: String
    let body: ClickHouseClient.Body
    /// The deduplication token.
    private(set) var token: String
    /// True if the token was announced to agents, so that other servers may fence it.
    private(set) var isAnnounced: Bool
    /// The day of the rows, in days since the Unix epoch.
    let day: UInt16
    let isAsynchronous: Bool
    /// Whether the insert succeeds although a materialized view fails.
    private(set) var ignoresViewErrors: Bool
    /// True once a view has failed for so long that the batch is sent without waiting for it.
    private(set) var isWithoutViews = false
    let flows: Int
    let rows: Int
    let reportedBytes: UInt64
    let begun: ContinuousClock.Instant
    private let fixedSettings: [(name: String, value: String)]
    private let knowsIgnoringViews: Bool

    init(
        _ block: FlowBlock, rows: Int, body: ClickHouseClient.Body, into schema: TableSchema,
        _ asyncInsert: AsyncInsert = .automatic, _ viewErrors: ViewErrors = .automatic, timeoutMilliseconds: Int
    ) {
        statement = schema.insertStatement
        self.body = body
        token = DeduplicationToken.text(of: block.token ?? DeduplicationToken.random())
        isAnnounced = block.token != nil
        day = block.day
        isAsynchronous = asyncInsert.isAsynchronous(rows: rows, into: schema)
        ignoresViewErrors = !viewErrors.areHeard(isAsynchronous, schema)
        fixedSettings = Self.settings(
            isAsynchronous: isAsynchronous, into: schema, timeoutMilliseconds: timeoutMilliseconds)
        knowsIgnoringViews = schema.knowsIgnoringViews
        flows = block.flows
        self.rows = rows
        reportedBytes = block.reportedBytes
        begun = block.begun
    }

    /// Makes a part of a batch.
    private init(_ batch: InsertBatch, part: String, flows: Int, rows: Int, reportedBytes: UInt64, body: [UInt8]) {
        statement = batch.statement
        self.body = ClickHouseClient.Body(body, compression: batch.body.compression)
        token = "\(batch.token)-\(part)"
        // The tokens of halves are not announced.
        isAnnounced = false
        day = batch.day
        isAsynchronous = batch.isAsynchronous
        ignoresViewErrors = batch.ignoresViewErrors
        isWithoutViews = batch.isWithoutViews
        fixedSettings = batch.fixedSettings
        knowsIgnoringViews = batch.knowsIgnoringViews
        self.flows = flows
        self.rows = rows
        self.reportedBytes = reportedBytes
        begun = batch.begun
    }

    /// The batch's blocks, flows, rows and bytes.
    var amount: BlockAmount {
        BlockAmount(blocks: 1, flows: UInt64(flows), rows: UInt64(rows), reportedBytes: reportedBytes)
    }

    /// The settings of the insert.
    var settings: [(name: String, value: String)] {
        // If the table has a deduplication window, the token ensures that a batch is stored once.
        fixedSettings + [("insert_deduplication_token", token)]
            + (knowsIgnoringViews ? [("materialized_views_ignore_errors", ignoresViewErrors ? "1" : "0")] : [])
    }

    /// Assigns a new token, so that ClickHouse does not deduplicate the batch.
    mutating func renewToken() {
        (token, isAnnounced) = (DeduplicationToken.text(of: DeduplicationToken.random()), false)
    }

    /// Returns the rows that the body has.
    func uncompressedRows() -> NativeRows { NativeRows(Decompressor.decompress(body)) }

    /// Makes later attempts ignore views that fail.
    mutating func leaveViews() { (ignoresViewErrors, isWithoutViews) = (true, true) }

    /// Returns two batches with half of the rows each, to be sent instead of this one. It must have more than one row
    /// and must not have been stored: the halves' tokens are derived from its token.
    func halves() -> (InsertBatch, InsertBatch) {
        let (all, middle, compressor) = (uncompressedRows(), rows / 2, Compressor())
        func half(_ part: String, _ range: Range<Int>, flows: Int) -> InsertBatch {
            var body: [UInt8] = []
            compressor.append(all.body(of: range), to: &body, with: self.body.compression)
            compressor.finish(&body, with: self.body.compression)
            return InsertBatch(
                self, part: part, flows: flows, rows: range.count, reportedBytes: all.reportedBytes(of: range),
                body: body)
        }
        return (
            half("0", 0..<middle, flows: flows / 2), half("1", middle..<rows, flows: flows - flows / 2)
        )
    }

    static func settings(
        isAsynchronous: Bool, into schema: TableSchema, timeoutMilliseconds: Int
    ) -> [(name: String, value: String)] {
        let reachesViews = schema.passesRetriesToViews(isAsynchronous: isAsynchronous)
        var settings = [
            // Always set: the server's default differs between releases.
            ("async_insert", isAsynchronous ? "1" : "0"),
            // Merging rows during the insert costs five times the insert itself; background merges do it anyway.
            ("optimize_on_insert", "0"),
        ]
        // With 1, a batch that a view failed on reaches the view with the next attempt, although the table has it.
        // Synchronous inserts into releases without a safe value leave the setting to the user's profile.
        if reachesViews || isAsynchronous {
            settings.append(("deduplicate_blocks_in_dependent_materialized_views", reachesViews ? "1" : "0"))
        }
        if reachesViews, !schema.isServer(atLeast: 26, 1) {
            // Gives each view a token of its own: otherwise, of two views into one table, the second one's rows would
            // be deduplicated. From 24.7 on, ClickHouse does this by itself; 26.9 calls the setting obsolete.
            settings.append(("update_insert_deduplication_token_in_dependent_materialized_views", "1"))
        }
        if isAsynchronous {
            settings += [
                // ClickHouse responds when the rows are in the table, not when they are in a buffer.
                ("wait_for_async_insert", "1"),
                // The server's wait ends before the client's, so that the client receives the error.
                ("wait_for_async_insert_timeout", "\(max(1, timeoutMilliseconds / 1000 - 10))"),
            ]
            // Off by default; the token would apply to synchronous inserts only.
            if case .replicated = schema.deduplication { settings.append(("async_insert_deduplicate", "1")) }
        }
        return settings
    }
}
