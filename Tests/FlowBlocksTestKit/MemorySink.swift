// SPDX-License-Identifier: Apache-2.0

public import FlowBlocks
public import FlowModel
import Synchronization

/// A sink that keeps blocks in memory, unchanged, until the test settles them.
public final class MemorySink: BlockSink {
    private struct Entry: Sendable {
        var block: FlowBlock
        let isAtRisk: @Sendable () -> Bool
        let delivery: BlockDelivery
        var hasLeft = false
    }

    /// The columns that the sink stores.
    public let form: BlockForm
    private let account: SinkAccount
    private let entries = Mutex<[Entry]>([])

    /// Makes a sink that stores `columns` of each row.
    public init(account: SinkAccount, columns: some Sequence<FlowColumn> = FlowColumn.allCases) {
        form = BlockForm(columns: columns)
        self.account = account
    }

    /// The submitted blocks in order, without withdrawn batches.
    public var blocks: [FlowBlock] { entries.withLock { $0.map(\.block) } }

    /// The counts of the sink's account.
    public var statistics: SinkStatistics { account.statistics }

    /// The network bytes of all rows of all blocks.
    public var rowBytes: UInt64 {
        var (rows, sum): (FlowRows, UInt64) = (FlowRows(), 0)
        for block in blocks {
            rows.load(block)
            sum += rows.bytes.reduce(0, +)
        }
        return sum
    }

    /// The load of the blocks that the test has not settled.
    public var load: SinkLoad {
        let held = account.statistics
        return SinkLoad(heldBytes: held.queuedBytes, oldestWait: held.oldestWait, problem: nil)
    }

    /// Keeps a block.
    public func submit(
        _ block: FlowBlock, isAtRisk: @escaping @Sendable () -> Bool = { false },
        settled: @escaping @Sendable (BlockSettlement) -> Void
    ) {
        let entry = Entry(
            block: block, isAtRisk: isAtRisk, delivery: account.deliver(block, isAtRisk: isAtRisk, settled: settled))
        entries.withLock { $0.append(entry) }
    }

    /// Removes batches from blocks that the test has not sent.
    public func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
        entries.withLock { entries in
            var withdrawn: Set<BatchIdentity> = []
            for index in entries.indices where !entries[index].hasLeft {
                let delivery = entries[index].delivery
                withdrawn.formUnion(delivery.withdraw(batches, from: &entries[index].block))
            }
            return withdrawn
        }
    }

    /// Whether another server may have fenced a block.
    public func isAtRisk(_ index: Int) -> Bool { entries.withLock { $0[index] }.isAtRisk() }

    /// Settles a block as void: another server has fenced it.
    public func void(_ index: Int) {
        send(index)
        let entry = entries.withLock { $0[index] }
        let block = entry.block
        let amount = BlockAmount(
            blocks: 1, flows: UInt64(block.flows), rows: UInt64(block.rows), reportedBytes: block.reportedBytes)
        entry.delivery.countVoid(amount, of: block.batchIdentities, freeing: block.memoryBytes)
        entry.delivery.settle()
    }

    /// Marks a block as sent, so that no batch can be withdrawn from it.
    public func send(_ index: Int) { entries.withLock { $0[index].hasLeft = true } }

    /// Sends a block, counts all of it and settles it. Each outcome but the last applies to half of the remaining rows.
    public func settle(_ index: Int, as outcomes: BlockOutcome...) {
        send(index)
        let entry = entries.withLock { $0[index] }
        let block = entry.block
        var (rest, bytes) = (
            BlockAmount(
                blocks: 1, flows: UInt64(block.flows), rows: UInt64(block.rows), reportedBytes: block.reportedBytes),
            block.memoryBytes
        )
        for outcome in outcomes.dropLast() {
            let part = BlockAmount(
                blocks: 1, flows: rest.flows / 2, rows: rest.rows / 2, reportedBytes: rest.reportedBytes / 2)
            entry.delivery.count(part, as: outcome, freeing: bytes / 2)
            rest.flows -= part.flows
            rest.rows -= part.rows
            rest.reportedBytes -= part.reportedBytes
            bytes -= bytes / 2
        }
        if let last = outcomes.last { entry.delivery.count(rest, as: last, freeing: bytes) }
        entry.delivery.settle()
    }
}
