// SPDX-License-Identifier: Apache-2.0

public import TransportSecurity

/// What has arrived so far.
public struct IngestStatistics: Equatable, Sendable {
    /// What ``errors`` can tell; an authenticator of one's own has further reasons.
    public static let errorReasons =
        ConnectionError.reasons + SharedTokenAuthenticator.Reason.allCases.map(\.rawValue)

    /// Agents that are connected and have introduced themselves.
    public var connectedAgents = 0
    /// Connections that are open, introduced or not.
    public var openConnections = 0
    /// Connections accepted.
    public var connections: UInt64 = 0
    /// Connections that could not be accepted at once, for want of file descriptors or memory.
    public var acceptFailures: UInt64 = 0
    /// Batches decoded.
    public var batches: UInt64 = 0
    /// Batches among them that the server held or had stored already.
    public var duplicateBatches: UInt64 = 0
    /// Flows in them.
    public var flows: UInt64 = 0
    /// Flows of duplicate batches.
    public var duplicateFlows: UInt64 = 0
    /// Bytes of the messages that batches came in.
    public var wireBytes: UInt64 = 0
    /// Connections whose agent was asked to connect anew because they had become too old.
    public var agedConnections: UInt64 = 0
    /// Connections refused or ended for what their peer sent or is, by ``ConnectionError/reason``.
    public var errors: [String: UInt64] = [:]
    /// What has become of the TLS files; nil where connections are not encrypted.
    public var tls: TLSContextSource.Statistics?

    /// Nothing has arrived.
    public init() {}
}
