// SPDX-License-Identifier: Apache-2.0

import FlowBlocks

/// Checks whether ClickHouse has a batch that it reports as stored, after it may have been killed.
///
/// A MergeTree without replicas logs a batch's token and then commits the batch's part. If ClickHouse is killed between
/// the two, it has the token without the rows, and rejects the retry as a duplicate although the rows are missing:
/// measured, this happened to one in 160 inserts in flight when ClickHouse was killed with -9 (26.9). The token cannot
/// reveal it, neither to a retry nor to a fence, so the check looks for the part: an insert makes one part of level 0
/// with as many rows as the batch, and with the same sums as long as it is not merged. If there may be another reason why
/// that part is missing, ClickHouse's response is believed.
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
    /// The start of the first attempt that may have stored the batch, with a known outcome or not; nil if there is none.
    private var mayBeStoredSince: ContinuousClock.Instant?

    /// The questions that the server's user must be allowed to ask for this check.
    private static let questions: Set<TableSchema.Question> = [.engine, .parts, .metrics]
    /// The columns whose sums tell parts with the same number of rows apart.
    private static let sums: [FlowColumn] = [.packets, .intervalStartTime]
    /// Tolerance for differences of clocks and rounding, in seconds.
    private static let margin: Int64 = 10

    init(since begun: ContinuousClock.Instant = .now, siblings: [Sibling] = []) {
        self.begun = begun
        self.siblings = siblings
    }

    /// Records a failed attempt.
    mutating func note(_ error: ClickHouseError, of attempt: ContinuousClock.Instant) {
        if openSince == nil, error.leavesOutcomeOpen { openSince = attempt }
        if mayBeStoredSince == nil, error.mayBeStored { mayBeStoredSince = attempt }
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
        guard !batch.isAsynchronous, !schema.hidden.contains(where: Self.questions.contains) else { return .stored }
        // Halves of a batch may have the same number of rows.
        let hasTwins = siblings.contains { $0.rows == batch.rows }
        let age = Self.seconds(since: hasTwins ? begun : mayBeStoredSince ?? begun) + Self.margin
        let result = try client.queryEndpoint(Self.question(about: batch, age: age, in: schema, believing: condition))
            .prefix { !$0.isNewline }
        switch result {
        case "loading": return .loading
        case "", "believed": return .stored
        case "none": return .missing
        default: break
        }
        let server = client.lastServer
        let parts = result.split(separator: ",")
        if hasTwins {
            return parts.count > siblings.count { $0.rows == batch.rows && $0.server == server } ? .stored : .missing
        }
        let others = try partsWithOtherRows(
            among: parts.filter { $0.hasSuffix(":1") }.map { $0.dropLast(2) }, than: batch, in: schema, asking: client)
        guard client.lastServer == server else { return .stored }
        return parts.count > others ? .stored : .missing
    }

    /// Returns the question for the parts that may be a batch. The answer is their names, each with `:1` if it is active
    /// or `:0` if it is merged, or else `none`, `believed` or `loading`.
    private static func question(
        about batch: InsertBatch, age: Int64, in schema: TableSchema, believing condition: String
    ) -> String {
        // ClickHouse lists a merged part for this time after it was made. A table may have a setting of its own.
        let lifetime = """
            ifNull(toInt64OrNull(extract(engine_full, 'old_parts_lifetime = (\\\\d+)')), \
            \(schema.hidden.contains(.plainDefault)
                ? "0"
                : """
                ifNull((SELECT toInt64OrNull(value) FROM system.merge_tree_settings \
                WHERE name = 'old_parts_lifetime'), 0)
                """))
            """
        // A table with another partition key splits a batch into several parts, and replicas fetch parts from one
        // another. All times are ClickHouse's own.
        return """
            SELECT multiIf(\(condition), 'believed', \
            engine LIKE 'Replicated%' OR engine LIKE 'Shared%' OR partition_key NOT IN ('date', ''), 'believed', \
            \(lifetime) <= \(age + margin), 'believed', \
            (SELECT sum(value) FROM system.metrics \
            WHERE metric LIKE 'MergeTreeOutdatedPartsLoaderThreads%' AND metric NOT LIKE '%Threads') > 0, 'loading', \
            (SELECT if(count() = 0, 'none', arrayStringConcat(groupArray(name || ':' || toString(active)), ',')) \
            FROM system.parts WHERE \(TableSchema.condition(on: schema.table, column: "table")) AND level = 0 \
            AND rows = \(batch.rows) AND modification_time >= now() - \(age))) \
            FROM system.tables WHERE \(TableSchema.condition(on: schema.table, column: "name")) \
            FORMAT TabSeparatedRaw
            """
    }

    /// Returns the number of those active parts that have as many rows as the batch but other ones, as their sums show. A
    /// part that was merged meanwhile is not counted.
    private func partsWithOtherRows(
        among parts: [Substring], than batch: InsertBatch, in schema: TableSchema,
        asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> Int {
        guard !parts.isEmpty, schema.canReadRows else { return 0 }
        let rows = batch.uncompressedRows()
        let expected = Self.sums.map { "\(rows.sum(of: $0, in: 0..<rows.count))" }
        let answer = try client.queryEndpoint(
            """
            SELECT count(), \(Self.sums.map { "sum(toUInt64(\($0.name)))" }.joined(separator: ", ")) \
            FROM \(schema.quotedTable) WHERE _part IN (\(parts.map { "'\($0)'" }.joined(separator: ", "))) \
            GROUP BY _part FORMAT TabSeparatedRaw
            """)
        return answer.split(whereSeparator: \.isNewline).count { line in
            let numbers = line.split(separator: "\t").map(String.init)
            return numbers.first == "\(rows.count)" && Array(numbers.dropFirst()) != expected
        }
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
