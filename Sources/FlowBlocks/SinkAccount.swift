// SPDX-License-Identifier: Apache-2.0

/// A sink's part of a ``BlockLedger``.
public struct SinkAccount: Sendable {
    /// The ledger, whose memory limit covers the blocks that the sink holds.
    public let ledger: BlockLedger
    let index: Int

    /// Moves a block from those that are being filled to the sink; from here on, its flows are pending in the sink.
    ///
    /// - Parameters:
    ///   - block: The block.
    ///   - isAtRisk: Returns whether another server may fence the block by now (``BlockSink``).
    ///   - settled: Called with the block's settlement.
    public func deliver(
        _ block: FlowBlock, isAtRisk: @escaping @Sendable () -> Bool = { false },
        settled: @escaping @Sendable (BlockSettlement) -> Void
    ) -> BlockDelivery {
        let delivery = BlockDelivery.State(block, isAtRisk: isAtRisk, settled: settled)
        let number = ledger.update { state in
            state.endGathering(block)
            return state.sinks[index].add(delivery)
        }
        return BlockDelivery(account: self, number: number)
    }

    /// The current counts of the sink's blocks.
    public var statistics: SinkStatistics { ledger.read { $0.sinks[index].statistics } }
}

/// Counts of a sink's blocks. Every submitted flow is in one of ``stored``, ``rejected``, ``withdrawn`` and
/// ``pendingFlows``.
public struct SinkStatistics: Equatable, Sendable {
    /// The rows that the sink has stored.
    public var stored = BlockAmount()
    /// The rows that the sink will never store, by reason; they are lost.
    public var rejected: [String: BlockAmount] = [:]
    /// The rows that were withdrawn. Its number of blocks stays 0.
    public var withdrawn = BlockAmount()
    /// Flows of unsettled blocks, without those in parts that are stored or rejected.
    public var pendingFlows: UInt64 = 0
    /// Network bytes that the pending flows report.
    public var pendingBytes: UInt64 = 0
    /// Unsettled blocks.
    public var queuedBlocks = 0
    /// The rows of the unsettled blocks.
    public var queuedRows = 0
    /// The memory of the unsettled blocks, in bytes.
    public var queuedBytes = 0
    /// Time since the oldest unsettled block was begun; nil if there is none.
    public var oldestAge: Duration?
    /// Time since the first submission among the unsettled blocks, without those that are set aside; nil if there is
    /// none.
    public var oldestWait: Duration?

    /// Makes the statistics of a sink without blocks.
    public init() {}
}
