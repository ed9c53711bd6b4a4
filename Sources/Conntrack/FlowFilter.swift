// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Which entries of the table are worth a place in a batch.
public struct FlowFilter: Sendable {
    /// Why an entry is left out.
    public enum Reason: String, CaseIterable, Sendable {
        /// It has carried nothing since it was last zeroed.
        case idle
        /// Its protocol is not one that is collected.
        case transport = "protocol"
        /// It stays inside the host: 127.0.0.0/8 or ::1.
        case loopback
        /// It stands in a conntrack zone that is not collected.
        case zone
    }

    /// How many entries were left out, by reason.
    public struct Counts: Equatable, Sendable {
        private var counts = [0, 0, 0, 0]

        /// None.
        public init() {}

        /// The number of entries that were left out for a reason.
        public internal(set) subscript(reason: Reason) -> Int {
            get { counts[reason.index] }
            set { counts[reason.index] = newValue }
        }
    }

    /// The protocols that are collected.
    let transports: [TransportProtocol]
    private var isCollected = [Bool](repeating: false, count: 256)
    private let zones: ZoneSet

    /// Makes a filter that lets the given protocols pass, in the given conntrack zones.
    public init(transports: some Sequence<TransportProtocol> = [.tcp, .udp], zones: ZoneSet = .all) {
        self.transports = Array(transports)
        self.zones = zones
        for transport in transports { isCollected[Int(transport.rawValue)] = true }
    }

    /// Why an entry is not collected, nil where it is.
    func reasonToIgnore(_ flow: Flow, in zone: ConntrackZone) -> Reason? {
        reasonToIgnore(flow) ?? (zones.contains(zone) ? nil : .zone)
    }

    /// Why `flow` is not collected, nil where it is.
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
