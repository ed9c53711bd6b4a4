// SPDX-License-Identifier: Apache-2.0

/// Blocks or parts of blocks, their flows and rows, and the network bytes that the rows report.
public struct BlockAmount: Equatable, Sendable {
    /// Blocks; parts of a block that are settled separately count as one each.
    public var blocks: UInt64 = 0
    /// Flows that the rows come from.
    public var flows: UInt64 = 0
    /// Rows.
    public var rows: UInt64 = 0
    /// The network bytes that the rows report.
    public var reportedBytes: UInt64 = 0

    /// Makes an empty amount.
    public init() {}

    /// Makes an amount from its parts.
    public init(blocks: UInt64, flows: UInt64, rows: UInt64, reportedBytes: UInt64) {
        self.blocks = blocks
        self.flows = flows
        self.rows = rows
        self.reportedBytes = reportedBytes
    }

    /// Adds an amount.
    public static func += (left: inout BlockAmount, right: BlockAmount) {
        left.blocks &+= right.blocks
        left.flows &+= right.flows
        left.rows &+= right.rows
        left.reportedBytes &+= right.reportedBytes
    }
}
