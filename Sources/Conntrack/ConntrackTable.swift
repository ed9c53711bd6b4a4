// SPDX-License-Identifier: Apache-2.0

import CNetfilter
public import FlowCollection
public import FlowModel

/// The connection table of the network namespace in which the process runs.
///
/// Entries are not stored: they stream through one receive buffer. The type is not thread-safe.
public struct ConntrackTable: ~Copyable {
    /// How counters are read and zeroed.
    public enum Mode: String, CaseIterable, Sendable {
        /// A dump that leaves the counters unchanged, then a separate request for each entry with counters, which reads
        /// and zeroes it. Loses nothing; costs about 4 µs more for each such entry.
        case exact
        /// One dump that reads and zeroes. Loses the counters behind ``Collection/boundaryHits``: 0.2 % of the bytes of
        /// a mixed table of 100,000 entries.
        case fast
    }

    /// The result of one collection.
    public struct Collection: Equatable, Sendable {
        /// All entries in the kernel's response, ignored ones included.
        public internal(set) var entries = 0
        /// Entries that the filter ignored, by reason.
        public internal(set) var ignored = IgnoredFlows()
        /// Entries that could not be decoded; their counters are lost.
        public internal(set) var malformedEntries = 0
        /// Entries destroyed between the dump and their own request (``Mode/exact``); their DESTROY events carry the
        /// counters.
        public internal(set) var goneEntries = 0
        /// Single-entry requests without a response (``Mode/exact``); the counters of their entries may be lost.
        public internal(set) var lostAnswers = 0
        /// Entries that the kernel refused to read and zero (``Mode/exact``); they keep counting.
        public internal(set) var refusedEntries = 0
        /// The kernel's error for the last of these entries.
        public internal(set) var refusal: ConntrackError?
        /// Entries that were the first in a kernel message and read zero in the original direction (``Mode/fast``).
        ///
        /// The kernel zeroes an entry before it knows whether the entry still fits the message (`ctnetlink_dump_table`
        /// in net/netfilter/nf_conntrack_netlink.c). An entry that does not fit is read again, as zero, at the start of
        /// the next message. Its counters in the original direction, perhaps in both, are lost. An idle entry that
        /// happens to be first is included, so this is the most that can have been lost.
        public internal(set) var boundaryHits = 0
        /// Whether the kernel reports that the table changed in a way that may hide entries from the dump
        /// (`NLM_F_DUMP_INTR`). The next dump finds them.
        public internal(set) var isInterrupted = false
        /// Whether `shouldContinue` ended the collection; entries that were not reached keep counting.
        var isCutShort = false

        /// Creates an empty result.
        public init() {}
    }

    /// The receive buffer's size in bytes. A larger one gains nothing: `netlink_dump()` caps the messages of a dump at
    /// 32 KiB.
    private static let receiveBufferSize = 32 * 1024

    private let mode: Mode
    private let events: DestroyEvents?
    private(set) var socket: NetlinkSocket
    /// Whether the last dump on the socket has not been read to its end. The kernel rejects another dump on such a
    /// socket.
    private var isDumpUnfinished = false
    private var zeroer: EntryZeroer?
    /// True once an entry outside the default conntrack zone has been seen.
    private var hasZones = false
    private let buffer = Buffer(byteCount: receiveBufferSize)
    /// The sequence number of the last request.
    private(set) var sequence: UInt32 = 0

    /// Opens netlink sockets for requests to the table.
    ///
    /// - Parameters:
    ///   - mode: How ``collect(_:while:_:)`` reads and zeroes counters.
    ///   - events: The events of ended connections. With them, no packet is reported twice, neither by a response and
    ///     an event nor by the entries of two conntrack zones. Without them, responses are reported as they are.
    public init(mode: Mode = .exact, events: DestroyEvents? = nil) throws(ConntrackError) {
        let socket = try NetlinkSocket()
        let zeroer = try Self.makeZeroer(mode, events)
        self.mode = mode
        self.events = events
        self.socket = socket
        self.zeroer = zeroer
    }

    private static func makeZeroer(
        _ mode: Mode, _ events: DestroyEvents?
    ) throws(ConntrackError) -> EntryZeroer? {
        switch mode {
        case .exact: try EntryZeroer(events: events)
        case .fast: nil
        }
    }

    /// Reads and zeroes the counters of entries.
    ///
    /// `body` is called with each flow as it arrives, before an error is returned. The kernel has already zeroed the
    /// flow's counters, so it must be reported even if the collection fails. Each entry with counters is reported
    /// exactly once.
    ///
    /// - Parameters:
    ///   - filter: The entries to report. Entries that do not pass are not zeroed in ``Mode/exact``.
    ///   - isLast: True if no other collection follows; no entry is then left to a later one.
    ///   - shouldContinue: Called before more entries are zeroed in ``Mode/exact``; false ends the collection.
    ///   - body: Called with each flow that has counters.
    /// - Returns: The result; `error` is set if the collection ended early.
    public mutating func collect(
        _ filter: FlowFilter, isLast: Bool = false, while shouldContinue: () -> Bool = { true },
        _ body: (Flow) -> Void
    ) -> (Collection, error: ConntrackError?) {
        var collection = Collection()
        hasZones =
            events?.withLedger { ledger in
                ledger.beginCollection()
                return ledger.zones.isActive
            } ?? false
        defer { events?.withLedger { $0.endCollection() } }
        do throws(ConntrackError) {
            switch mode {
            case .exact: try collectExactly(&collection, filter, isLast, shouldContinue, body)
            case .fast: try collectFast(&collection, filter, body)
            }
        } catch {
            return (collection, error)
        }
        return (collection, nil)
    }

    /// Reads some entries without zeroing them, so that the next collection can detect whether another program has
    /// zeroed them in between (``Mode/exact``). Called between two collections.
    mutating func sample() throws(ConntrackError) { try zeroer?.sample() }

    /// Looks for entries outside the default conntrack zone. Called before the first collection: if connections have
    /// entries in several zones, all of these entries must be remembered from the first collection on.
    mutating func findZones() throws(ConntrackError) {
        guard let events else { return }
        var ignored = Collection()
        try dump(IPCTNL_MSG_CT_GET, &ignored) { _, _, _, entry, _ in
            if entry.zone != .default { events.withLedger { _ = $0.notice(entry) } }
        }
    }

    /// Reads what entries have counted since they were last zeroed, without zeroing them.
    ///
    /// - Parameters:
    ///   - filter: The entries to report.
    ///   - body: Called with each flow that has counters.
    public mutating func list(_ filter: FlowFilter, _ body: (Flow) -> Void) throws(ConntrackError) -> Collection {
        var collection = Collection()
        try dump(IPCTNL_MSG_CT_GET, &collection) { _, collection, _, entry, _ in
            if let reason = filter.reasonToIgnore(entry.flow, in: entry.zone) {
                collection.ignored[reason] += 1
            } else {
                body(entry.flow)
            }
        }
        return collection
    }

    private mutating func collectExactly(
        _ collection: inout Collection, _ filter: FlowFilter, _ isLast: Bool, _ shouldContinue: () -> Bool,
        _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        do throws(ConntrackError) {
            try dump(IPCTNL_MSG_CT_GET, &collection) {
                table, collection, message, entry, isFirst throws(ConntrackError) in
                if let reason = filter.reasonToIgnore(entry.flow, in: entry.zone) {
                    collection.ignored[reason] += 1
                    return
                }
                if isFirst && !collection.isCutShort && !shouldContinue() { collection.isCutShort = true }
                guard !collection.isCutShort else { return }
                table.hasZones = table.hasZones || entry.zone != .default
                let reading = table.hasZones ? table.events?.withLedger { $0.notice(entry) } ?? .now : .now
                // An entry that is left to the next collection keeps counting in the kernel.
                guard reading != .nextCollection || isLast else { return }
                try table.zeroer?.add(message, isHeld: reading != .now, to: &collection, body)
            }
        } catch {
            // Requests left in the queue would be repeated by the next collection.
            try? zeroer?.finish(&collection, body)
            throw error
        }
        try zeroer?.finish(&collection, body)
    }

    private mutating func collectFast(
        _ collection: inout Collection, _ filter: FlowFilter, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        let take: EntryTaker = { table, collection, _, entry, isFirst in
            if isFirst && entry.flow.originalCounters.isZero {
                collection.boundaryHits += 1
            }
            if let reason = filter.reasonToIgnore(entry.flow, in: entry.zone) {
                collection.ignored[reason] += 1
                return
            }
            guard entry.flow.isPossible else {
                collection.malformedEntries += 1
                return
            }
            table.hasZones = table.hasZones || entry.zone != .default
            let flow =
                table.hasZones ? table.events?.withLedger { $0.report(dumped: entry) } ?? entry.flow : entry.flow
            collection.hand(on: flow, to: body)
        }
        do throws(ConntrackError) {
            try dump(IPCTNL_MSG_CT_GET_CTRZERO, &collection, take)
        } catch {
            salvage(&collection, take)
            throw error
        }
    }

    /// Called with each entry of a dump, its message, and whether it is the first entry of its datagram.
    private typealias EntryTaker = (
        inout Self, inout Collection, NetlinkMessage, ConntrackEntry, _ isFirst: Bool
    ) throws(ConntrackError) -> Void

    private static let dumping = "dumping the conntrack table"

    private mutating func dump(
        _ type: cntl_msg_types, _ collection: inout Collection, _ body: EntryTaker
    ) throws(ConntrackError) {
        if isDumpUnfinished { socket = try NetlinkSocket() }
        isDumpUnfinished = true
        try send(type, flags: NLM_F_REQUEST | NLM_F_DUMP, Self.dumping)
        while isDumpUnfinished {
            try take(try socket.receive(into: buffer.bytes, operation: Self.dumping), &collection, body)
        }
    }

    /// Reads the entries that the kernel had already zeroed when a dump failed: one or two datagrams wait in the
    /// socket. Each receive makes the kernel dump the next datagram before it returns (`netlink_recvmsg` in
    /// net/netlink/af_netlink.c), so everything that can still be read is there without waiting, up to the dump's end
    /// if the kernel reaches it.
    private mutating func salvage(_ collection: inout Collection, _ body: EntryTaker) {
        while isDumpUnfinished,
            let datagram = try? socket.receive(into: buffer.bytes, wait: false, operation: Self.dumping)
        {
            try? take(datagram, &collection, body)
        }
    }

    /// Reads one datagram of a dump.
    private mutating func take(
        _ datagram: UnsafeRawBufferPointer, _ collection: inout Collection, _ body: EntryTaker
    ) throws(ConntrackError) {
        var messages = NetlinkMessages(datagram)
        var isFirst = true
        while let message = try messages.next() {
            // Part of the response to an earlier dump that was abandoned.
            guard message.header.nlmsg_seq == sequence else { continue }
            if let code = try message.errorNumber() { throw ConntrackError(operation: Self.dumping, errno: code) }
            if message.header.nlmsg_flags & UInt16(NLM_F_DUMP_INTR) != 0 { collection.isInterrupted = true }
            if message.header.nlmsg_type == UInt16(NLMSG_DONE) {
                isDumpUnfinished = false
                if let code = message.doneErrorNumber { throw ConntrackError(operation: Self.dumping, errno: code) }
                return
            }
            collection.entries += 1
            if let attributes = message.attributes, let entry = ConntrackEntry(attributes) {
                try body(&self, &collection, message, entry, isFirst)
            } else {
                collection.malformedEntries += 1
            }
            isFirst = false
        }
    }

    /// Returns the number of entries in the table, including those of the loopback and of other protocols
    /// (`IPCTNL_MSG_CT_GET_STATS`).
    public mutating func count() throws(ConntrackError) -> Int {
        let operation = "requesting the size of the conntrack table"
        try send(IPCTNL_MSG_CT_GET_STATS, flags: NLM_F_REQUEST, operation)
        var messages = NetlinkMessages(try socket.receive(into: buffer.bytes, operation: operation))
        while let message = try messages.next() {
            if let code = try message.errorNumber() { throw ConntrackError(operation: operation, errno: code) }
            var attributes = message.attributes
            while let attribute = attributes?.next() {
                if attribute.type == Int(CTA_STATS_GLOBAL_ENTRIES.rawValue),
                    let count = attribute.number(as: UInt32.self)
                {
                    return Int(count)
                }
            }
        }
        throw .malformedMessage("no CTA_STATS_GLOBAL_ENTRIES in the response")
    }

    private mutating func send(
        _ type: cntl_msg_types, flags: Int32, _ operation: String
    ) throws(ConntrackError) {
        sequence &+= 1
        let request = NetfilterRequest(type, flags: flags, sequence: sequence)
        try withUnsafeBytes(of: request) { bytes throws(ConntrackError) in
            try socket.send(bytes, operation: operation)
        }
    }
}

extension ConntrackTable.Collection {
    /// Passes on a flow that was read and zeroed, unless nothing of it is left to report.
    mutating func hand(on flow: Flow, to body: (Flow) -> Void) {
        if flow.originalCounters.isZero && flow.replyCounters.isZero {
            ignored[.idle] += 1
        } else {
            body(flow)
        }
    }
}

/// Memory for received datagrams.
private struct Buffer: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer

    init(byteCount: Int) { bytes = .allocate(byteCount: byteCount, alignment: 16) }

    deinit { bytes.deallocate() }
}
