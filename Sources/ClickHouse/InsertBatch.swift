// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FoundationEssentials

/// A block as it is sent: the same bytes, settings and token in every attempt, so that ClickHouse knows it again.
struct InsertBatch: Sendable {
    let statement: String
    let body: ClickHouseClient.Body
    /// What ClickHouse knows the batch by.
    private(set) var token: String
    let isAsynchronous: Bool
    /// Whether a materialized view that fails leaves the insert as it is.
    private(set) var ignoresViewErrors: Bool
    /// True once a view has failed for so long that the batch goes without it.
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
        token = UUID().uuidString.lowercased()
        isAsynchronous = asyncInsert.isAsynchronous(rows: rows, into: schema)
        ignoresViewErrors = !viewErrors.areHeard(isAsynchronous, schema)
        fixedSettings = Self.settings(
            isAsynchronous: isAsynchronous, into: schema, timeoutMilliseconds: timeoutMilliseconds)
        knowsIgnoringViews = schema.serverVersion.isEmpty || schema.isServer(atLeast: 23, 3)
        flows = block.flows
        self.rows = rows
        reportedBytes = block.reportedBytes
        begun = block.begun
    }

    /// A part of a batch.
    private init(_ batch: InsertBatch, part: String, flows: Int, rows: Int, reportedBytes: UInt64, body: [UInt8]) {
        statement = batch.statement
        self.body = ClickHouseClient.Body(body, compression: batch.body.compression)
        token = "\(batch.token)-\(part)"
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

    /// What of a block the batch is.
    var amount: BlockAmount {
        BlockAmount(blocks: 1, flows: UInt64(flows), rows: UInt64(rows), reportedBytes: reportedBytes)
    }

    /// The settings of its insert.
    var settings: [(name: String, value: String)] {
        // Where the table has a deduplication window, a batch is stored once.
        fixedSettings + [("insert_deduplication_token", token)]
            + (knowsIgnoringViews ? [("materialized_views_ignore_errors", ignoresViewErrors ? "1" : "0")] : [])
    }

    /// Makes it another batch to ClickHouse.
    mutating func renewToken() { token = UUID().uuidString.lowercased() }

    /// Sends the batch from now on to the table and those views that take it.
    mutating func leaveViews() { (ignoresViewErrors, isWithoutViews) = (true, true) }

    /// Two batches of half of the rows each, to be sent instead of this one; there must be more than one row. Their tokens
    /// follow from the batch's, which must not have been stored.
    func halves() -> (InsertBatch, InsertBatch) {
        let all = NativeRows(Decompressor.decompress(body))
        let (middle, compressor) = (rows / 2, Compressor())
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
            // Always said: the server's default differs between releases.
            ("async_insert", isAsynchronous ? "1" : "0"),
            // Merging rows at insertion costs five times what the insertion does; the merges do it anyway.
            ("optimize_on_insert", "0"),
        ]
        // A batch that a view failed on reaches the view with the next attempt, although the table has it. Synchronous inserts
        // of releases that have no safe value leave it to the user's profile.
        if reachesViews || isAsynchronous {
            settings.append(("deduplicate_blocks_in_dependent_materialized_views", reachesViews ? "1" : "0"))
        }
        if reachesViews, !schema.isServer(atLeast: 26, 1) {
            // Each view has a token of its own: of two views into one table, the second one's rows would be taken for a copy.
            // From 24.7 on, ClickHouse does so by itself; 26.9 calls the setting obsolete.
            settings.append(("update_insert_deduplication_token_in_dependent_materialized_views", "1"))
        }
        if isAsynchronous {
            settings += [
                // The answer comes when the rows are in the table, not when they are in a buffer.
                ("wait_for_async_insert", "1"),
                // The server's wait ends before the client's, so that the client hears of it.
                ("wait_for_async_insert_timeout", "\(max(1, timeoutMilliseconds / 1000 - 10))"),
            ]
            // Off by default: the token would count for synchronous inserts alone.
            if case .replicated = schema.deduplication { settings.append(("async_insert_deduplicate", "1")) }
        }
        return settings
    }
}
