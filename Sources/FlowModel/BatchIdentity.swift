// SPDX-License-Identifier: Apache-2.0

/// What tells an agent process apart from all others: its own random id, and the node that it was admitted for, so that an
/// agent cannot settle another node's batches.
public struct AgentIdentity: Hashable, Sendable {
    private let id: UInt128
    /// A trace of the name, SipHash under a key that this process drew at its start and keeps to itself.
    private let node: Int

    /// Makes an identity of an agent's id and the name of its node.
    public init(id: UInt128, nodeName: String) {
        self.id = id
        node = nodeName.hashValue
    }
}

/// What tells a batch apart from all others, however often it is sent.
public struct BatchIdentity: Hashable, Sendable {
    /// The agent that sends the batch.
    public let agent: AgentIdentity
    /// The batch's sequence number among the agent's.
    public let sequence: UInt64

    /// Makes an identity of its parts.
    public init(agent: AgentIdentity, sequence: UInt64) {
        self.agent = agent
        self.sequence = sequence
    }
}
