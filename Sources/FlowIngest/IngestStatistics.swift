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
    /// Connected agents whose clock differs from the server's by more than ``AgentSummary/clockTolerance``.
    public var skewedAgents = 0
    /// The greatest difference of a connected agent's clock from the server's, without its sign.
    public var greatestClockSkew = Duration.zero
    /// How far the clocks of ``skewedAgents`` are ahead of the server's, negative if they are behind, by node: of at most
    /// ``maximumClockLeads`` nodes, those with the greatest differences.
    public var clockLeads: [String: Duration] = [:]
    /// The state of the TLS files and their reloads; nil if connections are not encrypted.
    public var tls: TLSContextSource.Statistics?

    /// The most nodes of ``clockLeads``.
    public static let maximumClockLeads = 100
    /// The most bytes of a node's name in ``clockLeads``: as many as Kubernetes accepts. Agents choose the names.
    private static let maximumNameBytes = 253

    /// Makes counters at zero.
    public init() {}

    /// Sets the statistics of the clocks.
    mutating func setClocks(of agents: some Sequence<AgentSummary>) {
        var skewed: [AgentSummary] = []
        for agent in agents {
            guard let lead = agent.clockLead else { continue }
            greatestClockSkew = max(greatestClockSkew, lead.magnitude)
            if agent.isClockSkewed { skewed.append(agent) }
        }
        skewedAgents = skewed.count
        func size(_ agent: AgentSummary) -> Duration { agent.clockLead?.magnitude ?? .zero }
        skewed.sort { (size($1), $0.nodeName) < (size($0), $1.nodeName) }
        for agent in skewed where clockLeads.count < Self.maximumClockLeads {
            // A node has two connections for a moment when its agent is replaced.
            let name = String(decoding: agent.nodeName.utf8.prefix(Self.maximumNameBytes), as: UTF8.self)
            if clockLeads[name] == nil { clockLeads[name] = agent.clockLead }
        }
    }
}
