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
    /// How far the node's clock is ahead of the server's, negative if it is behind; nil while that is unknown, or if the
    /// agent does not say when it sends messages.
    public internal(set) var clockLead: Duration?

    init(_ agent: ConnectedAgent, remoteAddress: String, connected: ContinuousClock.Instant = .now) {
        nodeName = agent.hello.nodeName
        softwareVersion = agent.hello.softwareVersion
        self.remoteAddress = remoteAddress
        self.connected = connected
    }

    /// When the last batch arrived, or the agent was admitted if there is none.
    var silentSince: ContinuousClock.Instant { lastBatch ?? connected }

    /// The greatest difference of a clock from the server's that is not reported.
    public static let clockTolerance = Duration.milliseconds(AgentClock.toleranceMilliseconds)

    /// Whether the node's clock differs from the server's by more than ``clockTolerance``.
    public var isClockSkewed: Bool { (clockLead?.magnitude ?? .zero) > Self.clockTolerance }
}

extension Duration {
    /// The duration without its sign.
    var magnitude: Duration { self < .zero ? .zero - self : self }
}
