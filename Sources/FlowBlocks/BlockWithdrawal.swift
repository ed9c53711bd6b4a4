// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Batches that were removed from a block, to be counted in its sink's account.
public struct BlockWithdrawal: Sendable {
    /// The batches.
    public let batches: Set<BatchIdentity>
    /// The amount of the batches. Its number of blocks is 0.
    let amount: BlockAmount
    /// The change of the block's memory, in bytes.
    let memoryGrowth: Int
    /// True if the block has no rows left, so that it must not be sent.
    public let isComplete: Bool

    /// Removes those of `batches` that are in a block, no part of which may have left the sink; nil if there are none.
    ///
    /// The block does not count the removal in the sink's account: ``BlockDelivery/count(_:)`` does.
    public init?(_ batches: Set<BatchIdentity>, from block: inout FlowBlock) {
        let (flows, rows, bytes, memory) = (block.flows, block.rows, block.reportedBytes, block.memoryBytes)
        self.batches = block.withdraw(batches)
        guard !self.batches.isEmpty else { return nil }
        amount = BlockAmount(
            blocks: 0, flows: UInt64(flows - block.flows), rows: UInt64(rows - block.rows),
            reportedBytes: bytes &- block.reportedBytes)
        memoryGrowth = block.memoryBytes - memory
        isComplete = block.rows == 0
    }
}
