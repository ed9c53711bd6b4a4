// SPDX-License-Identifier: Apache-2.0

package import FlowCollection
public import FlowModel

/// Decides which entries of the table are reported.
public struct FlowFilter: Sendable {
    /// The protocols that are collected.
    let transports: [TransportProtocol]
    private var isCollected = [Bool](repeating: false, count: 256)
    private let zones: ZoneSet

    /// Creates a filter that passes the given protocols in the given conntrack zones.
    public init(transports: some Sequence<TransportProtocol> = [.tcp, .udp], zones: ZoneSet = .all) {
        self.transports = Array(transports)
        self.zones = zones
        for transport in transports { isCollected[Int(transport.rawValue)] = true }
    }

    /// Returns the reason why an entry is ignored, or nil if it passes.
    func reasonToIgnore(_ flow: Flow, in zone: ConntrackZone) -> IgnoredFlows.Reason? {
        reasonToIgnore(flow) ?? (zones.contains(zone) ? nil : .zone)
    }

    /// Returns the reason why `flow` is ignored, or nil if it passes.
    package func reasonToIgnore(_ flow: Flow) -> IgnoredFlows.Reason? {
        if flow.originalCounters.isZero && flow.replyCounters.isZero { return .idle }
        if !isCollected[Int(flow.transport.rawValue)] { return .transport }
        if flow.original.source.isLoopback || flow.original.destination.isLoopback || flow.reply.source.isLoopback {
            return .loopback
        }
        return nil
    }
}
