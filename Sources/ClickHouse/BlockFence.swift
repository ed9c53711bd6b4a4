// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import HTTPClient

/// Settles the fate of blocks that other servers may have inserted: inserts a row under each block's token, so that a
/// block that is not stored yet never will be, and checks whether the table has the row.
///
/// Each fence is an insert of one row (``FenceMarker``). A server whose block was fenced gets a success from ClickHouse
/// nevertheless, so that it asks for the row before it acknowledges a block that may have been fenced
/// (``StoredCheck``).
public final class BlockFence: Sendable {
    /// The maximum number of tokens in one question.
    private static let tokensPerQuestion = 1_000
    /// The least bound of an age in seconds.
    private static let leastBound: UInt64 = 16
    /// Tolerance for differences of clocks and rounding, in seconds.
    private static let margin: UInt64 = 10

    private let configuration: ClickHouseClient.Configuration
    private let schema: TableSchema
    private let cancellation: HTTPCancellation?

    /// Makes a fence of the blocks of a table. There must be no ``obstacle(to:_:asking:)``.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the connections to ClickHouse.
    ///   - schema: The table.
    ///   - cancellation: Cancels requests from another thread.
    public init(
        configuration: ClickHouseClient.Configuration, schema: TableSchema, cancellation: HTTPCancellation? = nil
    ) {
        self.configuration = configuration
        self.schema = schema
        self.cancellation = cancellation
    }

    /// Returns the reason why the fate of a table's blocks cannot be settled; nil if it can.
    ///
    /// Blocks the thread. Fences a random token twice to learn whether the table deduplicates inserts, which leaves one
    /// row of no bytes in it.
    ///
    /// - Parameters:
    ///   - schema: The table.
    ///   - asyncInsert: Whether ClickHouse collects inserts.
    ///   - client: A client of ClickHouse.
    /// - Throws: ``ClickHouseError`` while ClickHouse cannot be asked.
    public static func obstacle(
        to schema: TableSchema, _ asyncInsert: AsyncInsert, asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> String? {
        if let obstacle = schema.fenceObstacle(asyncInsert) { return obstacle }
        let (token, day) = (
            DeduplicationToken.text(of: DeduplicationToken.random()), UInt16(clamping: WallClock.seconds() / 86_400)
        )
        do throws(ClickHouseError) {
            var servers: Set<String?> = []
            for _ in 0..<2 {
                try FenceMarker.insert(token, day: day, into: schema, over: client)
                servers.insert(client.lastServer)
            }
            let packets = try client.queryEndpoint(
                """
                SELECT sum(packets) FROM \(schema.quotedTable) WHERE date = toDate(\(day)) AND proto = '' \
                AND localPod = '\(FenceMarker.podName(of: token))' FORMAT TabSeparatedRaw
                """
            ).prefix { !$0.isNewline }
            servers.insert(client.lastServer)
            guard servers.count == 1 else {
                return "several ClickHouse servers answer at \(client.endpoint)"
            }
            guard packets == "1" else {
                return "table \(schema.table) does not deduplicate inserts: two under one token left \(packets) packets"
            }
            return nil
        } catch {
            guard error.failureClass != .transient else {
                client.moveOn()
                throw error
            }
            return "a fence cannot be inserted and read: \(error)"
        }
    }

    /// Fences the tokens of blocks and returns the blocks' fates, in their order. The same blocks may be settled again.
    ///
    /// Blocks the thread, about 10 ms for each block.
    ///
    /// - Throws: ``ClickHouseError`` while ClickHouse cannot be asked. A part of the tokens may be fenced then; the caller
    ///   tries again.
    public func settle(_ blocks: [DoubtfulBlock]) throws(ClickHouseError) -> [BlockFate] {
        let begun = ContinuousClock.now
        let client = ClickHouseClient(configuration, cancellation: cancellation)
        var untried = configuration.endpoints.count
        while true {
            do throws(ClickHouseError) {
                return try settle(blocks, since: begun, over: client)
            } catch {
                untried -= 1
                guard untried > 0, error.failureClass == .transient else { throw error }
                client.moveOn()
            }
        }
    }

    private func settle(
        _ blocks: [DoubtfulBlock], since begun: ContinuousClock.Instant, over client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [BlockFate] {
        var fates: [BlockFate] = []
        var rest = blocks[...]
        while !rest.isEmpty {
            fates += try settleChunk(rest.prefix(Self.tokensPerQuestion), since: begun, over: client)
            rest = rest.dropFirst(Self.tokensPerQuestion)
        }
        return fates
    }

    private func settleChunk(
        _ blocks: ArraySlice<DoubtfulBlock>, since begun: ContinuousClock.Instant,
        over client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> [BlockFate] {
        let tokens = blocks.map { (text: DeduplicationToken.text(of: $0.token), day: $0.day) }
        var servers: Set<String?> = []
        for token in tokens {
            try FenceMarker.insert(token.text, day: token.day, into: schema, over: client)
            servers.insert(client.lastServer)
        }
        let markers = try FenceMarker.find(tokens, in: schema, asking: client)
        servers.insert(client.lastServer)
        // Asked last, so that a restart and inserts before the other answers are seen.
        let elapsed = ContinuousClock.now - begun
        let ages = blocks.map { Self.seconds($0.age + elapsed) }
        // At least one age, or the question would not be an aggregate.
        let bounds = Set(ages.compactMap(Self.bound)).union([Self.leastBound])
        let history = try self.history(since: bounds.sorted(), asking: client)
        servers.insert(client.lastServer)
        let window = if case .plain(let window) = schema.deduplication { window } else { 0 }
        return zip(tokens, ages).map { token, age in
            FenceEvidence(
                hasMarker: markers.contains(token.text), isOneServer: servers.count == 1,
                hasOtherEndpoints: configuration.endpoints.count > 1,
                hasRestarted: history.uptime <= age + Self.margin,
                insertsSince: Self.bound(age).flatMap { history.inserts[$0] } ?? .max, window: window
            ).fate
        }
    }

    /// Returns a time in whole seconds, rounded up.
    private static func seconds(_ duration: Duration) -> UInt64 {
        UInt64(clamping: duration.components.seconds) + 1
    }

    /// Returns an upper bound of an age in seconds: one of few, since each is a column of the question; nil if the block
    /// is older than half a year.
    private static func bound(_ age: UInt64) -> UInt64? {
        // The first is leastBound.
        (4...24).lazy.map { 1 << $0 }.first { age <= $0 }
    }

    /// Returns the time in seconds since ClickHouse started and, for each of `ages`, an upper bound of the inserts into
    /// the table in that many last seconds.
    ///
    /// Block numbers count the inserts into a MergeTree. A merged part counts as young, which makes the bound larger.
    private func history(
        since ages: [UInt64], asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> (uptime: UInt64, inserts: [UInt64: Int]) {
        let columns = ages.map {
            "max(max_block_number) - maxIf(max_block_number, modification_time < now() - \($0 + 2))"
        }
        let answer = try client.queryEndpoint(
            """
            SELECT uptime(), \(columns.joined(separator: ", ")) FROM system.parts \
            WHERE \(TableSchema.condition(on: schema.table, column: "table")) FORMAT TabSeparatedRaw
            """)
        let numbers = answer.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard numbers.count == ages.count + 1 else {
            throw .unexpectedAnswer(endpoint: client.endpoint, status: 200, body: answer)
        }
        return (
            UInt64(clamping: numbers[0]),
            Dictionary(uniqueKeysWithValues: zip(ages, numbers.dropFirst()))
        )
    }
}
