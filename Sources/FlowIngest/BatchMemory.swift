// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire

extension AgentIdentity {
    init(_ hello: Hello) { self.init(id: hello.agentID.bits, nodeName: hello.nodeName) }
}

/// The batches that a server holds and those that it has stored, to deduplicate batches that are sent again.
///
/// An agent's stored batches are kept as ranges of sequence numbers, usually a single range however long the agent has
/// been sending. The numbers of agents and ranges are bounded; a forgotten batch that is sent again is stored twice,
/// which is better than losing it.
struct BatchMemory<Receipt> {
    /// The state of an arriving batch.
    enum Admission: Equatable {
        /// Unknown before: it goes to the sink, and is held from now on.
        case new
        /// Held already: its receipt is acknowledged together with the first.
        case held
        /// Stored already.
        case stored
    }

    private struct HeldBatch {
        /// The receipts of the batch's last arrivals, at most ``maximumReceipts``. Those of closed connections remain
        /// until ``close(_:where:)``.
        var receipts: [Receipt]
        /// The block that the batch is in; nil until that is complete.
        var announcement: BlockAnnouncement?
        /// Whether the agent has said that it sends the batch again on another connection, and has not yet.
        var hasLeft = false
    }

    private struct Agent {
        var stored = RangeSet<UInt64>()
        var held: [UInt64: HeldBatch] = [:]
        var lastUse: UInt64 = 0
    }

    private static var maximumReceipts: Int { 4 }

    private let maximumAgents: Int
    private let maximumRanges: Int
    private var agents: [AgentIdentity: Agent] = [:]
    private var clock: UInt64 = 0

    init(maximumAgents: Int = 20_000, maximumRanges: Int = 64) {
        self.maximumAgents = maximumAgents
        self.maximumRanges = maximumRanges
    }

    /// The number of agents with held or stored batches.
    var agentCount: Int { agents.count }

    /// Records an arriving batch, and returns its state.
    mutating func admit(_ batch: BatchIdentity, _ receipt: Receipt) -> Admission {
        if agents[batch.agent] == nil { makeRoom() }
        return touch(batch.agent) { agent in
            if agent.stored.contains(batch.sequence) { return .stored }
            guard let receipts = agent.held[batch.sequence]?.receipts else {
                agent.held[batch.sequence] = HeldBatch(receipts: [receipt])
                return .new
            }
            // Of a batch that is sent many times, the latest connections are those still open.
            agent.held[batch.sequence]?.receipts = receipts.suffix(Self.maximumReceipts - 1) + [receipt]
            agent.held[batch.sequence]?.hasLeft = false
            return .held
        }
    }

    /// Records that a batch is stored, and returns its receipts.
    mutating func store(_ batch: BatchIdentity) -> [Receipt] {
        let maximumRanges = maximumRanges
        return touch(batch.agent) { agent in
            // A half-open range cannot include the greatest number.
            if batch.sequence < .max { agent.stored.insert(contentsOf: batch.sequence..<batch.sequence + 1) }
            while agent.stored.ranges.count > maximumRanges, let lowest = agent.stored.ranges.first {
                agent.stored.remove(contentsOf: lowest)
            }
            return agent.held.removeValue(forKey: batch.sequence)?.receipts ?? []
        }
    }

    /// Drops the receipts of a closed connection; returns true if the batch is held and has no others.
    mutating func close(_ batch: BatchIdentity, where isClosed: (Receipt) -> Bool) -> Bool {
        guard agents[batch.agent]?.held[batch.sequence] != nil else { return false }
        agents[batch.agent]?.held[batch.sequence]?.receipts.removeAll(where: isClosed)
        return receipts(of: batch)?.isEmpty ?? false
    }

    /// Records the block of a held batch, and returns the batch's receipts.
    mutating func announce(_ batch: BatchIdentity, in announcement: BlockAnnouncement) -> [Receipt] {
        agents[batch.agent]?.held[batch.sequence]?.announcement = announcement
        if agents[batch.agent]?.held[batch.sequence]?.hasLeft ?? false { announcement.leave() }
        return receipts(of: batch) ?? []
    }

    /// Records that a held batch's agent sends it again on another connection.
    mutating func leave(_ batch: BatchIdentity) {
        agents[batch.agent]?.held[batch.sequence]?.hasLeft = true
        announcement(of: batch)?.leave()
    }

    /// The block of a held batch, if it was announced.
    func announcement(of batch: BatchIdentity) -> BlockAnnouncement? {
        agents[batch.agent]?.held[batch.sequence]?.announcement
    }

    /// The receipts of a batch; nil if it is not held.
    func receipts(of batch: BatchIdentity) -> [Receipt]? { agents[batch.agent]?.held[batch.sequence]?.receipts }

    /// Forgets a held batch, which is new if it arrives again.
    mutating func forget(_ batch: BatchIdentity) { agents[batch.agent]?.held[batch.sequence] = nil }

    private mutating func touch<Result>(_ id: AgentIdentity, _ body: (inout Agent) -> Result) -> Result {
        clock += 1
        agents[id, default: Agent()].lastUse = clock
        return body(&agents[id, default: Agent()])
    }

    /// When there are too many agents, evicts the least recently used half of those without held batches.
    private mutating func makeRoom() {
        guard agents.count >= maximumAgents else { return }
        let idle = agents.filter { $0.value.held.isEmpty }.sorted { $0.value.lastUse < $1.value.lastUse }
        for (agent, _) in idle.prefix((idle.count + 1) / 2) { agents[agent] = nil }
    }
}
