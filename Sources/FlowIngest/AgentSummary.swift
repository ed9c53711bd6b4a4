// SPDX-License-Identifier: Apache-2.0

/// An agent that is connected, for people.
public struct AgentSummary: Equatable, Sendable {
    /// The node that it watches, as it says itself.
    public let nodeName: String
    /// Its release, as it says itself.
    public let softwareVersion: String
    /// Its IP address.
    public let remoteAddress: String
    /// When it was let in.
    public let connected: ContinuousClock.Instant
    /// When its last batch came; nil before the first.
    public internal(set) var lastBatch: ContinuousClock.Instant?
    /// Batches that have come over this connection.
    public internal(set) var batches: UInt64 = 0

    init(_ agent: ConnectedAgent, remoteAddress: String, connected: ContinuousClock.Instant = .now) {
        nodeName = agent.hello.nodeName
        softwareVersion = agent.hello.softwareVersion
        self.remoteAddress = remoteAddress
        self.connected = connected
    }

    /// Since when it has sent nothing.
    public var silentSince: ContinuousClock.Instant { lastBatch ?? connected }
}
