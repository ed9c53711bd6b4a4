// SPDX-License-Identifier: Apache-2.0

package import FlowModel
public import NIOCore
public import TransportSecurity

extension IngestServer {
    /// The server's TLS files, authentication, timeouts and limits.
    public struct Configuration: Sendable {
        /// The server's certificate and key, and the authorities that must have signed the agents' certificates if
        /// those are required; nil for plain TCP, which can be read and altered in transit.
        public var tls: TLSFiles?
        /// Decides which agents are admitted; nil to admit all.
        public var authenticator: (any AgentAuthenticator)?
        /// Finds out the fates of blocks that agents ask for; nil if the server cannot.
        public var doubtSettler: (any DoubtSettler)?
        /// The bytes of unacknowledged frames that all agents together may have in flight; each gets an equal share.
        /// nil for no limit.
        public var grantedBytes: Int?
        /// The age of a connection, ±10 %, at which its agent is asked to reconnect, so that a replica that has come
        /// back gets its share of agents; nil for no limit.
        public var maximumConnectionAge: TimeAmount?
        /// The time within which an agent must leave after it was asked to reconnect.
        package var departureDeadline = TimeAmount.seconds(90)
        /// The interval between heartbeats to an agent.
        var heartbeatInterval = TimeAmount.seconds(15)
        /// The interval between checks of the TLS files for changes.
        package var fileInterval = TimeAmount.seconds(10)
        /// The limits on what peers may take of the server.
        public var limits = Limits()
        /// Reads the server's clocks, with which those of agents are compared.
        package var clock: @Sendable () -> ClockReading = ClockReading.now

        /// Makes a configuration that admits every agent, within the default limits.
        public init() {}
    }

    /// Limits on what peers may take of the server.
    ///
    /// A source is an IPv4 address, usually that of a node or an agent's pod, or the /64 of an IPv6 address. Agents
    /// behind one address translation or in one IPv6 subnet share a source.
    public struct Limits: Equatable, Sendable {
        /// Open connections.
        public var connections = 10_000
        /// Open connections from one source.
        public var connectionsPerSource = 1_000
        /// The time within which a new connection must complete the TLS handshake.
        package var handshakeDeadline = TimeAmount.seconds(10)
        /// The time within which a connection must then send `Hello`.
        package var helloDeadline = TimeAmount.seconds(10)
        /// The time within which an agent must send its next message. An idle agent sends a heartbeat once a minute.
        package var idleDeadline = TimeAmount.minutes(5)
        /// Batches in flight on one connection; at this number, reading from it pauses.
        public var batchesInFlight = 1_024
        /// Bytes of one source's unfinished frames, not counting frames that fit one receive buffer; above it, the
        /// connection with the source's oldest unfinished frame is closed.
        package var unfinishedBytesPerSource = 32 << 20
        /// The same for all sources together.
        var unfinishedBytes = 128 << 20

        /// Makes the default limits.
        public init() {}
    }
}
