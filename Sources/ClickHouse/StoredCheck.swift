// SPDX-License-Identifier: Apache-2.0

/// Checks whether ClickHouse has a batch that it reports as stored, where its report may be wrong: another server may
/// have fenced the batch's token (``BlockFence``), or ClickHouse may have been killed (``CrashCheck``).
struct StoredCheck: Sendable {
    enum Verdict: Equatable, Sendable {
        /// Nothing contradicts ClickHouse's response.
        case stored
        /// The token was logged by a ClickHouse that was killed before it stored the rows.
        case missing
        /// Another server has fenced the token: the rows are not stored and will not be.
        case fenced
        /// ClickHouse has not loaded all of its parts yet.
        case loading
    }

    /// Whether another server may have fenced the batch.
    var mayBeFenced: Bool
    var crash: CrashCheck

    /// Checks a batch on the endpoint that has just reported it as stored.
    func verdict(
        _ batch: InsertBatch, in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> Verdict {
        if mayBeFenced {
            let server = client.lastServer
            let markers = try FenceMarker.find([(batch.token, batch.day)], in: schema, asking: client)
            // Another server behind the same address may lack the insert.
            guard client.lastServer == server else { return .stored }
            if markers.contains(batch.token) { return .fenced }
        }
        return try crash.verdict(batch, in: schema, asking: client)
    }
}
