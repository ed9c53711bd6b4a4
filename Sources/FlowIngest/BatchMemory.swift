// SPDX-License-Identifier: Apache-2.0

import FlowWire

/// What tells an agent apart from all others: its own claim, and the node that it was let in for, so that nobody settles
/// another node's batches.
struct AgentIdentity: Hashable, Sendable {
    private let id: AgentID
    /// A trace of the name, SipHash under a key that this process drew at its start and nobody else knows.
    private let node: Int

    init(_ hello: Hello) {
        id = hello.agentID
        node = hello.nodeName.hashValue
    }
}

/// What tells a batch apart from all others, however often it is sent.
struct BatchIdentity: Hashable, Sendable {
    let agent: AgentIdentity
    let sequence: UInt64
}

/// Which batches a server holds and which it has stored, so that one that is sent again is not stored again.
///
/// An agent's stored batches are kept as ranges of their sequence numbers: one range as a rule, however long it has been
/// sending. The number of agents and of ranges is bounded; what is forgotten would be stored twice, once more than never.
struct BatchMemory<Receipt> {
    /// What is known of a batch that comes.
    enum Admission: Equatable {
        /// Nothing: it is to be taken, and is held from now on.
        case new
        /// It is held: its receipt joins the first.
        case held
        /// It is stored.
        case stored
    }

    private struct Agent {
        var stored = RangeSet<UInt64>()
        /// Receipts beyond the first of batches that are held.
        var held: [UInt64: [Receipt]] = [:]
        var lastUse: UInt64 = 0
    }

    private static var maximumFurtherReceipts: Int { 4 }

    private let maximumAgents: Int
    private let maximumRanges: Int
    private var agents: [AgentIdentity: Agent] = [:]
    private var clock: UInt64 = 0

    init(maximumAgents: Int = 20_000, maximumRanges: Int = 64) {
        self.maximumAgents = maximumAgents
        self.maximumRanges = maximumRanges
    }

    /// The agents of which something is known.
    var agentCount: Int { agents.count }

    /// Takes note of a batch that comes.
    mutating func admit(_ batch: BatchIdentity, _ receipt: Receipt) -> Admission {
        if agents[batch.agent] == nil { makeRoom() }
        return touch(batch.agent) { agent in
            if agent.stored.contains(batch.sequence) { return .stored }
            if var further = agent.held[batch.sequence] {
                // Of one that comes again and again, the last connections are those that live.
                if further.count == Self.maximumFurtherReceipts { further.removeFirst() }
                agent.held[batch.sequence] = further + [receipt]
                return .held
            }
            agent.held[batch.sequence] = []
            return .new
        }
    }

    /// Takes note that a batch is stored, and returns its receipts beyond the first.
    mutating func store(_ batch: BatchIdentity) -> [Receipt] {
        let maximumRanges = maximumRanges
        return touch(batch.agent) { agent in
            // There is no range that ends behind the greatest number.
            if batch.sequence < .max { agent.stored.insert(contentsOf: batch.sequence..<batch.sequence + 1) }
            while agent.stored.ranges.count > maximumRanges, let lowest = agent.stored.ranges.first {
                agent.stored.remove(contentsOf: lowest)
            }
            return agent.held.removeValue(forKey: batch.sequence) ?? []
        }
    }

    private mutating func touch<Result>(_ id: AgentIdentity, _ body: (inout Agent) -> Result) -> Result {
        clock += 1
        agents[id, default: Agent()].lastUse = clock
        return body(&agents[id, default: Agent()])
    }

    /// Forgets the half of the idle agents that have been silent for longest, once there are too many.
    private mutating func makeRoom() {
        guard agents.count >= maximumAgents else { return }
        let idle = agents.filter { $0.value.held.isEmpty }.sorted { $0.value.lastUse < $1.value.lastUse }
        for (agent, _) in idle.prefix((idle.count + 1) / 2) { agents[agent] = nil }
    }
}
