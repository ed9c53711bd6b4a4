// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A block in a sink, from its submission to its settlement: what the sink tells its account of the block.
public struct BlockDelivery: Sendable {
    let account: SinkAccount
    let number: UInt64

    /// What the account knows of the block.
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
        let settled: @Sendable (BlockSettlement) -> Void

        init(_ block: FlowBlock, settled: @escaping @Sendable (BlockSettlement) -> Void) {
            begun = block.begun
            pending = (block.flows, block.reportedBytes)
            rows = block.rows
            heldBytes = block.memoryBytes
            self.settled = settled
        }
    }

    /// Changes what the sink holds of the block: so many rows and bytes more than before, or fewer.
    public func adjustHeld(rows: Int = 0, bytes: Int) {
        account.ledger.update { $0.sinks[account.index].adjustHeld(number, rows: rows, bytes: bytes) }
    }

    /// Counts a part of the block, or all of it, as stored or rejected; its memory of so many bytes is free.
    public func count(_ part: BlockAmount, as outcome: BlockOutcome, freeing bytes: Int) {
        account.ledger.update { $0.sinks[account.index].count(part, of: number, as: outcome, freeing: bytes) }
    }

    /// Marks the block as one that waits while others are sent, for a cause of its own.
    public func markSetAside() {
        account.ledger.update { $0.sinks[account.index].deliveries[number]?.isSetAside = true }
    }

    /// Settles the block, all of which is counted as stored or rejected.
    ///
    /// The agents are told before the counts change: once those are zero, the server closes the agents' connections.
    public func settle() {
        guard let state = account.ledger.read({ $0.sinks[account.index].deliveries[number] }) else { return }
        state.settled(BlockSettlement(outcome: state.outcome, withdrawn: state.withdrawn))
        account.ledger.update { $0.sinks[account.index].remove(number) }
    }

    /// Takes batches out of the block, of which nothing may have left the sink. A block that has no rows then is not to be
    /// sent: its delivery has ended without a settlement.
    ///
    /// - Returns: The batches that were in the block.
    public func withdraw(_ batches: Set<BatchIdentity>, from block: inout FlowBlock) -> Set<BatchIdentity> {
        let (flows, rows, bytes, memory) = (block.flows, block.rows, block.reportedBytes, block.memoryBytes)
        let withdrawn = block.withdraw(batches)
        guard !withdrawn.isEmpty else { return [] }
        let amount = BlockAmount(
            blocks: 0, flows: UInt64(flows - block.flows), rows: UInt64(rows - block.rows),
            reportedBytes: bytes &- block.reportedBytes)
        let (isEmpty, growth) = (block.rows == 0, block.memoryBytes - memory)
        account.ledger.update { state in
            state.sinks[account.index].withdraw(withdrawn, amount, from: number, growth: growth)
            if isEmpty { state.sinks[account.index].remove(number) }
        }
        return withdrawn
    }
}
