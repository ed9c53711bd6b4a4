// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import Synchronization

/// What an agent is owed for a batch.
public struct BatchReceipt: Sendable {
    let channel: any Channel
    let identity: BatchIdentity
    let ledger: BatchLedger

    /// So many sequence numbers fit a frame, whatever their values: each takes ten bytes at most.
    private static let maximumPerMessage = 65_536

    /// Tells each batch's agent that ClickHouse has the batch, with one message for each connection, or several where
    /// one would be too long. Connections that are gone are passed over: their agents send the batch again, and are told
    /// at once. Callable from any thread; the batches may be stored in any order.
    public static func acknowledge(_ receipts: [BatchReceipt]) {
        guard let ledger = receipts.first?.ledger else { return }
        let all = receipts + ledger.store(receipts.map(\.identity))
        for (_, receipts) in Dictionary(grouping: all, by: { ObjectIdentifier($0.channel) }) {
            var sequences = receipts.map(\.identity.sequence)[...]
            while !sequences.isEmpty {
                let message = ServerMessage.ack(Array(sequences.prefix(maximumPerMessage)))
                sequences = sequences.dropFirst(maximumPerMessage)
                receipts[0].channel.writeAndFlush(message, promise: nil)
            }
        }
    }
}

/// The ``BatchMemory`` of a server, which all of its event loops and inserters share.
final class BatchLedger: Sendable {
    private let memory = Mutex(BatchMemory<BatchReceipt>())

    /// Whether a batch is to be taken. One that is held already gets its acknowledgement on this connection too, one that
    /// is stored at once.
    func admit(_ receipt: BatchReceipt) -> Bool {
        switch memory.withLock({ $0.admit(receipt.identity, receipt) }) {
        case .new: return true
        case .held: return false
        case .stored:
            receipt.channel.writeAndFlush(ServerMessage.ack([receipt.identity.sequence]), promise: nil)
            return false
        }
    }

    /// Notes that batches are stored, and returns what further connections wait for them.
    func store(_ batches: [BatchIdentity]) -> [BatchReceipt] {
        memory.withLock { memory in batches.flatMap { memory.store($0) } }
    }
}
