// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A block in a sink, from its submission to its settlement. Through it, the sink updates the block's counts in its
/// account.
public struct BlockDelivery: Sendable {
    let account: SinkAccount
    let number: UInt64

    /// The account's record of the block.
    struct State: Sendable {
        let begun: ContinuousClock.Instant
        let submitted = ContinuousClock.now
        /// Flows and their network bytes that are neither stored nor rejected.
        var pending: (flows: Int, bytes: UInt64)
        var rows: Int
        var heldBytes: Int
        var isSetAside = false
        var outcome = BlockOutcome.stored
        var withdrawn: Set<BatchIdentity> = []
        var isVoid = false
        let isAtRisk: @Sendable () -> Bool
        let settled: @Sendable (BlockSettlement) -> Void

        init(
            _ block: FlowBlock, isAtRisk: @escaping @Sendable () -> Bool,
            settled: @escaping @Sendable (BlockSettlement) -> Void
        ) {
            begun = block.begun
            pending = (block.flows, block.reportedBytes)
            rows = block.rows
            heldBytes = block.memoryBytes
            self.isAtRisk = isAtRisk
            self.settled = settled
        }
    }

    /// Whether another server may fence the block by now, as told by the one that submitted it.
    public var isAtRisk: Bool {
        account.ledger.read { $0.sinks[account.index].deliveries[number]?.isAtRisk }?() ?? false
    }

    /// Adjusts the rows and bytes that the sink holds of the block; negative values reduce them.
    public func adjustHeld(rows: Int = 0, bytes: Int) {
        account.ledger.update { $0.sinks[account.index].adjustHeld(number, rows: rows, bytes: bytes) }
    }

    /// Counts a part of the block, or all of it, as stored or rejected, and frees its memory of `bytes` bytes.
    public func count(_ part: BlockAmount, as outcome: BlockOutcome, freeing bytes: Int) {
        account.ledger.update { $0.sinks[account.index].count(part, of: number, as: outcome, freeing: bytes) }
    }

    /// Counts the whole block as withdrawn, and frees its memory of `bytes` bytes: another server has fenced it. The
    /// settlement, which must follow, names these batches as withdrawn.
    public func countVoid(_ block: BlockAmount, of batches: Set<BatchIdentity>, freeing bytes: Int) {
        account.ledger.update { $0.sinks[account.index].void(block, of: batches, from: number, freeing: bytes) }
    }

    /// Marks the block as set aside: it waits for a reason of its own while others are sent.
    public func markSetAside() {
        account.ledger.update { $0.sinks[account.index].deliveries[number]?.isSetAside = true }
    }

    /// Settles the block. All of it must have been counted as stored, rejected or void.
    ///
    /// The agents' batches are acknowledged before the counts change: once those are zero, the server closes the
    /// agents' connections.
    public func settle() {
        guard let state = account.ledger.read({ $0.sinks[account.index].deliveries[number] }) else { return }
        state.settled(BlockSettlement(outcome: state.outcome, withdrawn: state.withdrawn, isVoid: state.isVoid))
        account.ledger.update { $0.sinks[account.index].remove(number) }
    }

    /// Counts batches that were removed from the block. If it has no rows left, the delivery ends without a settlement.
    public func count(_ withdrawal: BlockWithdrawal) {
        account.ledger.update { state in
            state.sinks[account.index].withdraw(
                withdrawal.batches, withdrawal.amount, from: number, growth: withdrawal.memoryGrowth)
            if withdrawal.isComplete { state.sinks[account.index].remove(number) }
        }
    }

    /// Removes batches from the block, no part of which may have left the sink. A block that has no rows left must not
    /// be sent: its delivery has ended without a settlement.
    ///
    /// - Returns: The batches of `batches` that were in the block.
    public func withdraw(_ batches: Set<BatchIdentity>, from block: inout FlowBlock) -> Set<BatchIdentity> {
        guard let withdrawal = BlockWithdrawal(batches, from: &block) else { return [] }
        count(withdrawal)
        return withdrawal.batches
    }
}
