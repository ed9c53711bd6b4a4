// SPDX-License-Identifier: Apache-2.0

/// A block of another server, or of an earlier process, whose fate is unknown.
public struct DoubtfulBlock: Hashable, Sendable {
    /// The block's deduplication token.
    public let token: UInt128
    /// The day of the block's rows, in days since the Unix epoch.
    public let day: UInt16
    /// The time since the block was announced: its insert did not begin earlier.
    public let age: Duration

    /// Makes a block from its parts.
    public init(token: UInt128, day: UInt16, age: Duration) {
        self.token = token
        self.day = day
        self.age = age
    }
}

/// The fate of a block whose token was fenced.
public enum BlockFate: Equatable, Sendable {
    /// The table has the block.
    case stored
    /// The table does not have the block, and ClickHouse will not store it under its token.
    case notStored
    /// The fate cannot be told; the reason is short, for log lines.
    case uncertain(reason: String)
}

/// The facts about a block after its token was fenced.
struct FenceEvidence: Equatable, Sendable {
    /// Whether the fence's row is in the table.
    var hasMarker: Bool
    /// Whether one server took the fence and answered all questions.
    var isOneServer = true
    /// Whether the block may have been sent to another endpoint.
    var hasOtherEndpoints = false
    /// Whether ClickHouse has restarted since the block was announced.
    var hasRestarted = false
    /// An upper bound of the inserts into the table since the block was announced.
    var insertsSince = 0
    /// The table's deduplication window, in inserts.
    var window: Int

    /// The fate that follows. Uncertainty is preferred to a guess in every case in which a fact may be missing.
    var fate: BlockFate {
        guard isOneServer else { return .uncertain(reason: "another ClickHouse server answered") }
        guard hasMarker else {
            // A MergeTree logs a token before it commits the part. If it was killed in between, it has the token alone.
            return hasRestarted ? .uncertain(reason: "ClickHouse has restarted") : .stored
        }
        if hasOtherEndpoints { return .uncertain(reason: "another endpoint may have the block") }
        // ClickHouse may have forgotten the block's token before the fence came.
        return insertsSince >= window ? .uncertain(reason: "the deduplication window is exceeded") : .notStored
    }
}
