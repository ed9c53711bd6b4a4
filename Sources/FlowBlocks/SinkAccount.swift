// SPDX-License-Identifier: Apache-2.0

/// A sink's part of a ``BlockLedger``.
public struct SinkAccount: Sendable {
    /// The ledger, whose bound on memory counts what the sink holds.
    public let ledger: BlockLedger
    let index: Int

    /// Takes a block over from those that are being filled; from here on its flows are pending in the sink.
    public func deliver(
        _ block: FlowBlock, settled: @escaping @Sendable (BlockSettlement) -> Void
    ) -> BlockDelivery {
        let delivery = BlockDelivery.State(block, settled: settled)
        let number = ledger.update { state in
            state.endGathering(block)
            return state.sinks[index].add(delivery)
        }
        return BlockDelivery(account: self, number: number)
    }

    /// What the sink holds and what became of its blocks.
    public var statistics: SinkStatistics { ledger.read { $0.sinks[index].statistics } }
}

/// What a sink holds, and what became of its blocks. Every flow that was submitted is in one of ``stored``, ``rejected``,
/// ``withdrawn`` and ``pendingFlows``.
public struct SinkStatistics: Equatable, Sendable {
    /// What the sink has.
    public var stored = BlockAmount()
    /// What the sink never takes, by reason: it is lost.
    public var rejected: [String: BlockAmount] = [:]
    /// What was taken out again. No blocks are counted.
    public var withdrawn = BlockAmount()
    /// Flows of blocks that are not settled, without those of parts that are stored or rejected.
    public var pendingFlows: UInt64 = 0
    /// Network bytes that those flows report.
    public var pendingBytes: UInt64 = 0
    /// Blocks that are not settled.
    public var queuedBlocks = 0
    /// Their rows.
    public var queuedRows = 0
    /// The memory that the sink holds for them, in bytes.
    public var queuedBytes = 0
    /// Time since the oldest of them was begun, nil where there is none.
    public var oldestAge: Duration?
    /// Time since the one of them that has waited for longest was submitted, nil where there is none. Blocks that are set
    /// aside do not count.
    public var oldestWait: Duration?

    /// A sink that never had a block.
    public init() {}
}
