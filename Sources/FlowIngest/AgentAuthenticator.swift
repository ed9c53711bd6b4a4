// SPDX-License-Identifier: Apache-2.0

public import FlowWire

/// Decides whether an agent is let in.
public protocol AgentAuthenticator: Sendable {
    /// Looks at how a peer introduces itself. It answers within seconds, whatever happens; meanwhile nothing is read from
    /// the peer. The task is cancelled when the peer's connection ends: the answer no longer matters then.
    func examine(_ claim: AgentClaim) async -> AgentVerdict
}

/// What a peer says of itself.
public struct AgentClaim: Sendable {
    /// How it introduces itself.
    public let hello: Hello
    /// What limits count it under: the IPv4 address that it comes from, or the /64 of its IPv6 address.
    public let source: String
}

/// What becomes of a peer.
public enum AgentVerdict: Equatable, Sendable {
    /// The agent is admitted, for this time where there is one.
    case admitted(lifetime: Duration? = nil)
    /// It is not let in until something changes: `reason` is one of a small, fixed set, for counters; `explanation` says
    /// what to change, for the logs of both sides.
    case refused(reason: String, explanation: String)
    /// It could not be told; the agent is to try again. `reason` and `explanation` as above.
    case undecided(reason: String, explanation: String)
}
