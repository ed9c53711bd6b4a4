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
    /// Whether the agent confirms the block of its batches.
    package let isConfirming: Bool

    /// The number of sequence numbers that fit a frame, whatever their values: each takes at most 10 bytes.
    private static let maximumPerMessage = 65_536

    /// Names the block of batches to their agents, on every open connection on which they arrived, and again on each
    /// connection on which they arrive later. Must not be called while the sink withdraws batches.
    ///
    /// - Parameters:
    ///   - receipts: The receipts of all batches of the block, which is to be inserted under the announcement's token.
    ///   - day: The day of the block's rows, in days since the Unix epoch.
    ///   - confirmed: Called once, from any thread, when every agent that confirms has done so; not if there are none.
    public static func announce(
        _ receipts: [BatchReceipt], day: UInt16, confirmed: @escaping @Sendable (_ token: UInt128) -> Void
    ) -> BlockAnnouncement {
        let awaited = receipts.lazy.filter(\.isConfirming).map(\.identity)
        let announcement = BlockAnnouncement(day: day, awaiting: Set(awaited), confirmed: confirmed)
        guard let ledger = receipts.first?.ledger else { return announcement }
        let open = ledger.announce(receipts.map(\.identity), in: announcement)
        for (_, receipts) in Dictionary(grouping: open.filter(\.isConfirming), by: { ObjectIdentifier($0.channel) }) {
            let sequences = receipts.map(\.identity.sequence)
            for start in stride(from: 0, to: sequences.count, by: maximumPerMessage) {
                let some = sequences[start..<min(start + maximumPerMessage, sequences.count)]
                let held = Held(token: announcement.token, day: day, sequences: Array(some))
                receipts[0].channel.writeAndFlush(ServerMessage.held(held), promise: nil)
            }
        }
        return announcement
    }

    /// Gives up batches of an announced block whose agents have not confirmed it in time. An agent that lives sends them
    /// again, perhaps to another server, which cannot learn that this one has them. Open connections are closed, so that
    /// agents send them again at once.
    ///
    /// - Returns: The batches that were given up; they are new if they arrive again.
    public static func giveUp(_ receipts: [BatchReceipt], unconfirmedIn announcement: BlockAnnouncement)
        -> Set<BatchIdentity>
    {
        receipts.first?.ledger.giveUp(announcement.unconfirmed) ?? []
    }

    /// Gives up the batches of a block that another server has fenced, so that ClickHouse never stores it. Closes the
    /// open connections of their agents, so that the agents send the batches again.
    public static func void(_ receipts: [BatchReceipt]) {
        _ = receipts.first?.ledger.giveUp(Set(receipts.map(\.identity)))
    }

    /// Whether each batch's agent has an open connection on which the batch has arrived.
    public static func haveConnections(_ receipts: [BatchReceipt]) -> Bool {
        receipts.first.map { $0.ledger.haveConnections(receipts.map(\.identity)) } ?? true
    }

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
    private let givenUpCount = Atomic<UInt64>(0)

    /// Returns whether the batch is new. A batch that is already held will be acknowledged on this connection too; one
    /// that is already stored is acknowledged at once.
    func admit(_ receipt: BatchReceipt) -> Bool {
        let (admission, announcement) = memory.withLock { memory in
            (memory.admit(receipt.identity, receipt), memory.announcement(of: receipt.identity))
        }
        switch admission {
        case .new: return true
        case .held:
            // The agent may have lost the message together with its earlier connection.
            if let announcement, receipt.isConfirming {
                let held = Held(
                    token: announcement.token, day: announcement.day, sequences: [receipt.identity.sequence])
                receipt.channel.writeAndFlush(ServerMessage.held(held), promise: nil)
            }
            return false
        case .stored:
            receipt.channel.writeAndFlush(ServerMessage.ack([receipt.identity.sequence]), promise: nil)
            return false
        }
    }

    /// Records that batches are stored, and returns their receipts.
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
            for batch in abandoned { memory.leave(batch) }
            // Under the lock: a batch that arrives again meanwhile is either held or new.
            let withdrawn = sink.withdraw(abandoned)
            for batch in withdrawn { memory.forget(batch) }
            return withdrawn.count
        }
    }

    /// Records the block of held batches, and returns their receipts on open connections.
    func announce(_ batches: [BatchIdentity], in announcement: BlockAnnouncement) -> [BatchReceipt] {
        memory.withLock { memory in
            batches.flatMap { memory.announce($0, in: announcement) }
        }.filter { $0.channel.isActive }
    }

    /// Records an agent's confirmation. It is ignored for batches that are in another block by now.
    func confirm(_ confirmation: HeldConfirmation, of agent: AgentIdentity) {
        let batches = confirmation.sequences.lazy.map { BatchIdentity(agent: agent, sequence: $0) }
        let announcement = memory.withLock { memory -> BlockAnnouncement? in
            for batch in batches {
                if let found = memory.announcement(of: batch), found.token == confirmation.token { return found }
            }
            return nil
        }
        announcement?.confirm(batches)
    }

    /// Forgets those of the batches that are held, closes their connections, and returns them.
    func giveUp(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
        let (givenUp, connections) = memory.withLock { memory in
            var (givenUp, connections): (Set<BatchIdentity>, [BatchReceipt]) = ([], [])
            for batch in batches {
                guard let receipts = memory.receipts(of: batch) else { continue }
                givenUp.insert(batch)
                connections += receipts
                memory.forget(batch)
            }
            return (givenUp, connections)
        }
        for (_, receipts) in Dictionary(grouping: connections, by: { ObjectIdentifier($0.channel) }) {
            receipts[0].channel.close(promise: nil)
        }
        givenUpCount.wrappingAdd(UInt64(givenUp.count), ordering: .relaxed)
        return givenUp
    }

    /// The number of batches that were given up.
    var givenUpBatches: UInt64 { givenUpCount.load(ordering: .relaxed) }

    /// Whether each of the held batches has a receipt of an open connection.
    func haveConnections(_ batches: [BatchIdentity]) -> Bool {
        memory.withLock { memory in
            batches.allSatisfy { memory.receipts(of: $0)?.contains { $0.channel.isActive } ?? true }
        }
    }
}
