// SPDX-License-Identifier: Apache-2.0

/// Blocks or parts of blocks, their flows and rows, and the network bytes that the rows report.
public struct BlockAmount: Equatable, Sendable {
    /// Blocks; parts that are settled apart count one by one.
    public var blocks: UInt64 = 0
    /// Flows that the rows are made of.
    public var flows: UInt64 = 0
    /// Rows.
    public var rows: UInt64 = 0
    /// The network bytes that the rows report.
    public var reportedBytes: UInt64 = 0

    /// Nothing.
    public init() {}

    /// Makes an amount of its parts.
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
