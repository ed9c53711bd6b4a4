// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Decides which entries of the table are reported.
public struct FlowFilter: Sendable {
    /// The reason why an entry is ignored.
    public enum Reason: String, CaseIterable, Sendable {
        /// The entry has counted nothing since it was last zeroed.
        case idle
        /// The entry's protocol is not collected.
        case transport = "protocol"
        /// The connection stays inside the host: 127.0.0.0/8 or ::1.
        case loopback
        /// The entry is in a conntrack zone that is not collected.
        case zone
    }

    /// The numbers of ignored entries, by reason.
    public struct Counts: Equatable, Sendable {
        private var counts = [0, 0, 0, 0]

        /// Creates counts that are all zero.
        public init() {}

        /// The number of entries ignored for a reason.
        public internal(set) subscript(reason: Reason) -> Int {
            get { counts[reason.index] }
            set { counts[reason.index] = newValue }
        }
    }

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
    func reasonToIgnore(_ flow: Flow, in zone: ConntrackZone) -> Reason? {
        reasonToIgnore(flow) ?? (zones.contains(zone) ? nil : .zone)
    }

    /// Returns the reason why `flow` is ignored, or nil if it passes.
    public func reasonToIgnore(_ flow: Flow) -> Reason? {
        if flow.originalCounters.isZero && flow.replyCounters.isZero { return .idle }
        if !isCollected[Int(flow.transport.rawValue)] { return .transport }
        if flow.original.source.isLoopback || flow.original.destination.isLoopback || flow.reply.source.isLoopback {
            return .loopback
        }
        return nil
    }
}

extension FlowFilter.Reason {
    fileprivate var index: Int {
        switch self {
        case .idle: 0
        case .transport: 1
        case .loopback: 2
        case .zone: 3
        }
    }
}
