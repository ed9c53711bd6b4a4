// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import FlowWire
import NIOCore
import Synchronization

/// The means to acknowledge one batch on the connection that it arrived on.
public struct BatchReceipt: Sendable {
    /// The batch.
    public let identity: BatchIdentity
    let channel: any Channel
    let ledger: BatchLedger

    /// The number of sequence numbers that fit a frame, whatever their values: each takes at most 10 bytes.
    private static let maximumPerMessage = 65_536

    /// Acknowledges batches that ClickHouse has stored, on every open connection on which they arrived, with one message
    /// per connection, or several if one would be too long. On a closed connection nothing is sent: its agent sends the
    /// batch again, which is then acknowledged at once. Callable from any thread; the batches may be stored in any order.
    public static func acknowledge(_ receipts: [BatchReceipt]) {
        guard let ledger = receipts.first?.ledger else { return }
        let open = ledger.store(receipts.map(\.identity))
        for (_, receipts) in Dictionary(grouping: open, by: { ObjectIdentifier($0.channel) }) {
            var sequences = receipts.map(\.identity.sequence)[...]
            while !sequences.isEmpty {
                let message = ServerMessage.ack(Array(sequences.prefix(maximumPerMessage)))
                sequences = sequences.dropFirst(maximumPerMessage)
                receipts[0].channel.writeAndFlush(message, promise: nil)
            }
        }
    }
}

/// A server's ``BatchMemory``, shared by all of its event loops and inserters.
final class BatchLedger: Sendable {
    private let memory = Mutex(BatchMemory<BatchReceipt>())

    /// Returns whether the batch is new. A batch that is already held will be acknowledged on this connection too; one
    /// that is already stored is acknowledged at once.
    func admit(_ receipt: BatchReceipt) -> Bool {
        switch memory.withLock({ $0.admit(receipt.identity, receipt) }) {
        case .new: return true
        case .held: return false
        case .stored:
            receipt.channel.writeAndFlush(ServerMessage.ack([receipt.identity.sequence]), promise: nil)
            return false
        }
    }

    /// Records that batches are stored, and returns their receipts on open connections.
    func store(_ batches: [BatchIdentity]) -> [BatchReceipt] {
        memory.withLock { memory in batches.flatMap { memory.store($0) } }
    }

    /// Withdraws the batches of a closed connection from a sink, except those that have arrived on another connection
    /// too, and returns their number. They are new if they arrive again.
    func withdraw(_ batches: [BatchIdentity], of channel: any Channel, from sink: any FlowSink) -> Int {
        memory.withLock { memory in
            // A connection that broke before, without Leaving, has kept its receipts.
            let abandoned = Set(
                batches.filter { batch in memory.close(batch) { $0.channel === channel || !$0.channel.isActive } })
            guard !abandoned.isEmpty else { return 0 }
            // Under the lock: a batch that arrives again meanwhile is either held or new.
            let withdrawn = sink.withdraw(abandoned)
            for batch in withdrawn { memory.forget(batch) }
            return withdrawn.count
        }
    }
}
