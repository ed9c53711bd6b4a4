// SPDX-License-Identifier: Apache-2.0

public import TransportSecurity

extension FlowExporter {
    /// Every reason in ``Statistics/connectionFailures``.
    public static let connectionFailureReasons =
        ["unreachable", "credentials", "refused"] + TLSFailure.allCases.map(\.rawValue)

    /// The state of the connection and of the batches so far.
    public struct Statistics: Equatable, Sendable {
        /// Whether a connection to a server is open.
        public var isConnected = false
        /// The number of connections opened.
        public var connections: UInt64 = 0
        /// The number of failed attempts to connect.
        public var failedConnections: UInt64 = 0
        /// Failed attempts to connect and connections rejected by a server, by reason: one of
        /// ``FlowExporter/connectionFailureReasons``.
        public var connectionFailures: [String: UInt64] = [:]
        /// The server's reason for rejecting this agent; nil if no rejection is known.
        public var refusal: String?
        /// The state of the TLS files; nil for unencrypted connections.
        public var tls: TLSContextSource.Statistics?
        /// The number of connections closed because the server exceeded ``Configuration/answerTimeout``.
        public var silentConnections: UInt64 = 0
        /// The flows taken over, and what became of them.
        public var balance = FlowBalance()
        /// The number of batches that earlier agent processes left in the spool directory.
        public var restoredBatches = 0
        /// The state of the spool directory; nil if there is none.
        public var spool: SpoolStatistics?
        /// The number of unacknowledged batches.
        public var unacknowledgedBatches = 0
        /// The time at which the oldest unacknowledged batch's counters were read, in milliseconds since the Unix
        /// epoch; nil if there is none.
        public var oldestObservation: UInt64?
        /// The number of times that a batch was sent to a server while another one, to which it was sent before, may
        /// still store it.
        public var doubtfulBatches: UInt64 = 0
        /// The bytes of unacknowledged frames that the server grants on the open connection; nil if it has granted none,
        /// or there is no connection.
        public var grantedBytes: UInt64?
        /// The number of acknowledgements that match no unacknowledged batch.
        public var unknownAcknowledgements: UInt64 = 0
        /// The unacknowledged frames' size in bytes.
        public var unacknowledgedBytes = 0
        /// The number of host addresses that servers are sent; nil before ``FlowExporter/tell(hostAddresses:)``.
        public var hostAddresses: Int?

        /// Makes the statistics of an exporter without batches.
        public init() {}
    }
}
