// SPDX-License-Identifier: Apache-2.0

public import FlowWire

/// Decides whether an agent is admitted.
public protocol AgentAuthenticator: Sendable {
    /// Returns the verdict on a peer. It must return within seconds, whatever happens: meanwhile nothing is read from
    /// the peer. The task is cancelled when the peer's connection ends, because the verdict no longer matters then.
    func examine(_ claim: AgentClaim) async -> AgentVerdict
}

/// A peer to be examined: its `Hello` and its source.
public struct AgentClaim: Sendable {
    /// The peer's `Hello`, including its token.
    public let hello: Hello
    /// The key of per-source limits: the peer's IPv4 address, or the /64 of its IPv6 address.
    public let source: String
}

/// The result of examining a peer.
public enum AgentVerdict: Equatable, Sendable {
    /// The agent is admitted, for `lifetime` if it is given.
    case admitted(lifetime: Duration? = nil)
    /// The agent is rejected until something changes. `reason` is one of a small, fixed set, for counters;
    /// `explanation` says what to change, for the logs of both sides.
    case refused(reason: String, explanation: String)
    /// No decision was possible; the agent should try again. `reason` and `explanation` as above.
    case undecided(reason: String, explanation: String)
}
