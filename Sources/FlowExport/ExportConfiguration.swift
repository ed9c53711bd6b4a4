// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import NIOCore
import Retry
public import Secrets
import Sockets
public import TransportSecurity

extension FlowExporter {
    /// The server to send batches to, limits and timeouts.
    public struct Configuration: Sendable {
        /// The server's name or address. All addresses of a name are tried; each agent starts at a random one.
        public var host: String
        /// The server's port.
        public var port: Int
        /// The limit on unacknowledged frames, in bytes; see ``FlowExporter/hasRoom``.
        public var maximumUnacknowledgedBytes: Int
        /// The timeout of a connection attempt to one address.
        package var connectTimeout: TimeAmount
        /// The longest silence of a server that owes acknowledgements. A server sends an empty one every 15 s.
        public var answerTimeout: TimeAmount
        /// The TLS settings; nil for unencrypted connections.
        public var tls: TLS?
        /// The file with the agent's bearer token, read again for every connection; nil for none. The first token in it
        /// is sent.
        public var token: TokenFile?
        /// The time after a `GoAway` in which no new batch is sent. If the server still owes acknowledgements then, the
        /// agent sends new batches to it again rather than to none.
        var departureTimeout = TimeAmount.seconds(60)
        /// The time after which a heartbeat of a server that has not sent `Welcome` shows that it never does. Before a
        /// server admits an agent, it may wait for a review of the agent's token.
        var welcomeTimeout = TimeAmount.seconds(30)
        /// The interval of heartbeats on an open connection, which are sent whether or not there are batches to send.
        var signOfLifeInterval = TimeAmount.seconds(60)
        /// The directory in which unacknowledged batches are kept for the next agent process, up to
        /// ``maximumUnacknowledgedBytes``; nil to keep them in memory only.
        public var spoolDirectory: String?
        /// The longest wait for the spool: before a `Hello`, for which a server waits longer, and at the end.
        var spoolTimeout = TimeAmount.seconds(5)
        /// The delays between attempts to use the spool directory; nil for those of ``Spool/Configuration``.
        var spoolBackoff: Backoff?
        /// The delays between attempts to connect.
        var backoff = Backoff.serverConnection
        /// The silence of the server's TCP after which the connection is closed, in seconds.
        var deadPeerSeconds = DeadPeerDetection.defaultSeconds
        /// Reads the node's clocks, for the times at which messages are sent.
        var clock: @Sendable () -> ClockReading = ClockReading.now
        /// Returns the addresses of a host name; may block.
        var resolve: @Sendable (_ host: String, _ port: Int) throws -> [SocketAddress] = ServerAddresses.resolve

        /// Makes a configuration from its parts.
        public init(
            host: String, port: Int, maximumUnacknowledgedBytes: Int = 16 << 20,
            connectTimeout: TimeAmount = .seconds(10), answerTimeout: TimeAmount = .seconds(60)
        ) {
            self.host = host
            self.port = port
            self.maximumUnacknowledgedBytes = maximumUnacknowledgedBytes
            self.connectTimeout = connectTimeout
            self.answerTimeout = answerTimeout
        }
    }

    /// The TLS settings: how connections are encrypted, and how agent and server authenticate each other.
    public struct TLS: Equatable, Sendable {
        /// The agent's certificate and key, for a server that asks for them, and the authorities trusted to sign the
        /// server's certificate.
        public var files: TLSFiles
        /// The name that the server's certificate must contain; nil for ``Configuration/host``.
        public var serverName: String?

        /// Makes TLS settings; the server's certificate is always verified.
        public init(files: TLSFiles = TLSFiles(), serverName: String? = nil) {
            self.files = files
            self.serverName = serverName
        }
    }
}
