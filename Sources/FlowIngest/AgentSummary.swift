// SPDX-License-Identifier: Apache-2.0

/// A connected agent, for display.
public struct AgentSummary: Equatable, Sendable {
    /// The node that the agent watches, as the agent claims.
    public let nodeName: String
    /// The agent's release, as the agent claims.
    public let softwareVersion: String
    /// The agent's IP address.
    public let remoteAddress: String
    /// When the agent was admitted.
    public let connected: ContinuousClock.Instant
    /// When the last batch arrived; nil before the first.
    public internal(set) var lastBatch: ContinuousClock.Instant?
    /// Batches received over this connection.
    public internal(set) var batches: UInt64 = 0

    init(_ agent: ConnectedAgent, remoteAddress: String, connected: ContinuousClock.Instant = .now) {
        nodeName = agent.hello.nodeName
        softwareVersion = agent.hello.softwareVersion
        self.remoteAddress = remoteAddress
        self.connected = connected
    }

    /// When the last batch arrived, or the agent was admitted if there is none.
    var silentSince: ContinuousClock.Instant { lastBatch ?? connected }
}
