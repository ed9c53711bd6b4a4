// SPDX-License-Identifier: Apache-2.0

/// What has arrived so far.
public struct IngestStatistics: Equatable, Sendable {
    /// Agents that are connected and have introduced themselves.
    public var connectedAgents = 0
    /// Connections accepted.
    public var connections: UInt64 = 0
    /// Batches decoded.
    public var batches: UInt64 = 0
    /// Batches among them that the server held or had stored already.
    public var duplicateBatches: UInt64 = 0
    /// Flows in them.
    public var flows: UInt64 = 0
    /// Connections ended for what their peer sent, by ``ConnectionError/reason``.
    public var errors: [String: UInt64] = [:]

    /// Nothing has arrived.
    public init() {}
}
