// SPDX-License-Identifier: Apache-2.0

public import NIOCore
public import TransportSecurity

extension IngestServer {
    /// Who is let in, and how much of the server a peer may take.
    public struct Configuration: Sendable {
        /// The server's certificate and key, and the authorities that must have signed the agents' where those are asked
        /// for; nil for connections that anybody on the way can read and alter.
        public var tls: TLSFiles?
        /// Decides who is let in; nil for whoever comes.
        public var authenticator: (any AgentAuthenticator)?
        /// How old a connection may become, give or take a tenth, before its agent is asked to connect anew, so that a
        /// replica that has come back gets its share; nil for as old as it likes.
        public var maximumConnectionAge: TimeAmount?
        /// How long an agent that was asked to go may take until it has gone.
        public var departureDeadline = TimeAmount.seconds(90)
        /// How often an agent hears that the server is alive.
        var heartbeatInterval = TimeAmount.seconds(15)
        /// How often the TLS files are looked at.
        public var fileInterval = TimeAmount.seconds(10)
        /// How much a peer may take.
        public var limits = Limits()

        /// Makes a configuration that lets in whoever comes, within the limits.
        public init() {}
    }

    /// How much of the server a peer may take.
    ///
    /// A source is an IPv4 address, that of a node or an agent's pod as a rule, or the /64 of an IPv6 address: of many
    /// agents where they come through one address translation or are in one IPv6 subnet.
    public struct Limits: Equatable, Sendable {
        /// Connections that are open.
        public var connections = 10_000
        /// Connections that are open from one source.
        public var connectionsPerSource = 1_000
        /// How long the TLS handshake of a new connection may take.
        public var handshakeDeadline = TimeAmount.seconds(10)
        /// How long a connection may then take to introduce itself.
        public var helloDeadline = TimeAmount.seconds(10)
        /// How long an agent may take for its next message. One that has nothing to say says so once a minute.
        public var idleDeadline = TimeAmount.minutes(5)
        /// Batches of one connection that are not acknowledged, above which none is taken from it.
        public var batchesInFlight = 1_024
        /// Bytes of frames from one source that are not complete, frames within one receive buffer aside, above which its
        /// oldest is given up with its connection.
        public var unfinishedBytesPerSource = 32 << 20
        /// The same of all sources together.
        public var unfinishedBytes = 128 << 20

        /// The limits by default.
        public init() {}
    }
}
