// SPDX-License-Identifier: Apache-2.0

public import TransportSecurity

/// The counters of an ``IngestServer``.
public struct IngestStatistics: Equatable, Sendable {
    /// The keys of ``errors``; a custom authenticator can add further reasons.
    public static let errorReasons =
        ConnectionError.reasons + SharedTokenAuthenticator.Reason.allCases.map(\.rawValue)

    /// Agents that are connected and admitted.
    public var connectedAgents = 0
    /// Open connections, with or without an admitted agent.
    public var openConnections = 0
    /// Connections accepted.
    public var connections: UInt64 = 0
    /// Connections that could not be accepted at once, for lack of file descriptors or memory.
    public var acceptFailures: UInt64 = 0
    /// Batches decoded.
    public var batches: UInt64 = 0
    /// Batches among these that the server held or had stored already.
    public var duplicateBatches: UInt64 = 0
    /// Flows in ``batches``.
    public var flows: UInt64 = 0
    /// Flows in ``duplicateBatches``.
    public var duplicateFlows: UInt64 = 0
    /// Batches withdrawn because their agent left, to send them to another server, before they were sent to ClickHouse.
    public var withdrawnBatches: UInt64 = 0
    /// Bytes of the batches' messages, without frame headers.
    public var wireBytes: UInt64 = 0
    /// Connections whose agent was asked to reconnect because of their age.
    public var agedConnections: UInt64 = 0
    /// Connections rejected or closed by the server, by ``ConnectionError/reason(of:)``.
    public var errors: [String: UInt64] = [:]
    /// The state of the TLS files and their reloads; nil if connections are not encrypted.
    public var tls: TLSContextSource.Statistics?

    /// Makes counters at zero.
    public init() {}
}
