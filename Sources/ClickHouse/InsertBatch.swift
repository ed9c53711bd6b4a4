// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// A block as it is sent: the same bytes, settings and token in every attempt, so that ClickHouse knows it again.
struct InsertBatch: Sendable {
    let statement: String
    let body: ClickHouseClient.Body
    private(set) var settings: [(name: String, value: String)]
    /// What ClickHouse knows the batch by.
    private(set) var token: String
    let isAsynchronous: Bool
    let flows: Int
    let rows: Int
    let reportedBytes: UInt64
    let begun: ContinuousClock.Instant
    let completion: @Sendable () -> Void

    init(
        _ block: FlowBlock, rows: Int, body: ClickHouseClient.Body, into schema: TableSchema,
        _ asyncInsert: AsyncInsert,
        timeoutMilliseconds: Int, completion: @escaping @Sendable () -> Void
    ) {
        statement = schema.insertStatement
        self.body = body
        token = Self.makeToken()
        isAsynchronous = asyncInsert.isAsynchronous(rows: rows, into: schema.deduplication)
        settings = Self.settings(
            token: token, isAsynchronous: isAsynchronous, into: schema.deduplication,
            timeoutMilliseconds: timeoutMilliseconds)
        flows = block.flows
        self.rows = rows
        reportedBytes = block.reportedBytes
        begun = block.begun
        self.completion = completion
    }

    /// Makes it another batch to ClickHouse.
    mutating func renewToken() {
        let newToken = Self.makeToken()
        settings = settings.map { $0.value == token ? ($0.name, newToken) : $0 }
        token = newToken
    }

    private static func makeToken() -> String { UUID().uuidString.lowercased() }

    static func settings(
        token: String, isAsynchronous: Bool, into deduplication: TableSchema.Deduplication, timeoutMilliseconds: Int
    ) -> [(name: String, value: String)] {
        var settings = [
            // Always said: the server's default differs between releases.
            ("async_insert", isAsynchronous ? "1" : "0"),
            // Merging rows at insertion costs five times what the insertion does; the merges do it anyway.
            ("optimize_on_insert", "0"),
            // Where the table has a deduplication window, a batch is stored once.
            ("insert_deduplication_token", token),
        ]
        if isAsynchronous {
            settings += [
                // The answer comes when the rows are in the table, not when they are in a buffer.
                ("wait_for_async_insert", "1"),
                // The server's wait ends before the client's, so that the client hears of it.
                ("wait_for_async_insert_timeout", "\(max(1, timeoutMilliseconds / 1000 - 10))"),
            ]
            // Off by default: the token would count for synchronous inserts alone.
            if case .replicated = deduplication { settings.append(("async_insert_deduplicate", "1")) }
        }
        return settings
    }
}
