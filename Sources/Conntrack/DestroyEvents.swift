// SPDX-License-Identifier: Apache-2.0

import CNetfilter
public import FlowCollection
import Glibc
import Synchronization
import Threads

/// The kernel's DESTROY events: what each ended connection had counted since it was last zeroed.
///
/// Without them, connections that begin and end between two collections, and the last bytes of all others, are never
/// counted. Open it before the first collection: if `net.netfilter.nf_conntrack_events` is 2, its default, the kernel
/// sends no such event for entries created before a listener existed
/// (Documentation/networking/nf_conntrack-sysctl.rst).
///
/// A collection zeroes entries while it holds the lock of these events: it reads all events that have arrived, sends
/// its requests, and reads their responses. The order of events and responses is therefore known; see `DyingEntries`.
/// It follows that events are read, and passed on, by whichever thread takes the lock first.
///
/// Delivery is best effort on purpose. With `NETLINK_BROADCAST_ERROR`, the kernel would keep every ended entry until
/// its event is delivered: nothing would be lost, but a stalled listener would fill the table, and the node would drop
/// new connections. A large receive buffer loses events only if the listener stalls for seconds, and then counts are
/// lost, not connections.
public final class DestroyEvents: Sendable {
    /// Counters of received and lost events.
    public struct Statistics: Equatable, Sendable {
        /// Events that could be decoded.
        public internal(set) var events: UInt64 = 0
        /// Events that the filter ignored, by reason.
        public internal(set) var ignored = IgnoredFlows()
        /// Times that the kernel began to drop events because the receive buffer was full.
        public internal(set) var overruns: UInt64 = 0
        /// Events that the kernel dropped, by the socket's own count.
        public internal(set) var droppedEvents: UInt64 = 0
        /// An estimate of the bytes in the dropped events: their number times the mean of the events received around
        /// the same time.
        public internal(set) var droppedBytesEstimate: UInt64 = 0
        /// Datagrams and events that could not be decoded, and events with impossible counters; their counters are
        /// lost.
        public internal(set) var malformedEvents: UInt64 = 0
        /// Datagrams from other processes; they are not decoded.
        var foreignDatagrams: UInt64 = 0
        /// Connections found in more than one conntrack zone.
        var mergedConnections: UInt64 = 0
        /// The two zones of the connection most recently found in several, as text; nil if there was none.
        public internal(set) var zones: String?
        /// Entries reported once for each of their zones because too many connections are in several zones.
        var unmergedEntries: UInt64 = 0
        /// Sampled entries whose counters another program has zeroed.
        var foreignResets: UInt64 = 0

        /// Creates statistics with all counters at zero.
        public init() {}
    }

    /// The receive buffer space that the kernel charges for one event, in bytes, as measured.
    public static let chargePerEvent = 1280

    /// The maximum number of events that one call of ``receive()`` reads.
    static let maximumReceived = DatagramSlots.count

    /// The receive buffer's size in bytes, as the kernel counts it.
    public let receiveBuffer: Int

    private struct State: ~Copyable {
        let socket: NetlinkSocket
        var slots = DatagramSlots()
        var ledger = ConnectionLedger()
        /// The flows of the datagrams received last.
        var ended: [EndedConnection] = []
        var statistics = Statistics()
        var knownDrops: UInt32
        /// Dropped events whose bytes have not been estimated yet.
        var newDrops: UInt64 = 0
        /// Recent events and their bytes; older ones weigh less.
        var recent = (events: 0.0, bytes: 0.0)

        init(_ socket: consuming NetlinkSocket) {
            knownDrops = socket.drops
            self.socket = socket
        }
    }

    private let state: Mutex<State>
    private let interruption: PollInterruption
    /// The socket's descriptor, to be passed to a process that continues listening on it. It is open as long as this
    /// object exists.
    public let descriptor: CInt
    private let filter: FlowFilter
    private let handle: @Sendable ([EndedConnection]) -> Void

    /// Starts listening.
    ///
    /// - Parameters:
    ///   - filter: The flows to report. The kernel drops events of other protocols before they reach the receive
    ///     buffer.
    ///   - receiveBufferBytes: The requested size of the receive buffer. Without CAP_NET_ADMIN in the initial user
    ///     namespace the buffer may be smaller; see ``receiveBuffer``.
    ///   - handle: Called with the flows of ended connections, up to 128 at a time, on the thread that received them
    ///     and with the events' lock held.
    public convenience init(
        _ filter: FlowFilter, receiveBufferBytes: Int, handle: @escaping @Sendable ([EndedConnection]) -> Void
    ) throws(ConntrackError) {
        let socket = try NetlinkSocket(groups: CUnsignedInt(NF_NETLINK_CONNTRACK_DESTROY))
        try self.init(socket, filter, receiveBufferBytes: receiveBufferBytes, handle: handle)
    }

    /// Continues listening on the socket of another process that has stopped reading it. The events that have arrived
    /// since then wait in the socket.
    ///
    /// - Parameters:
    ///   - descriptor: The other process's socket, which ``EventSocket/isOne(_:)`` has accepted as an event socket of
    ///     this network namespace. It remains the caller's.
    ///   - filter: The flows to report from now on, including those of the waiting events.
    ///   - receiveBufferBytes: The requested size of the receive buffer. A larger buffer keeps its size, because
    ///     shrinking it could drop new events while others wait.
    ///   - handle: Called with the flows of ended connections, as in the other initializer.
    public convenience init(
        adopting descriptor: CInt, _ filter: FlowFilter, receiveBufferBytes: Int,
        handle: @escaping @Sendable ([EndedConnection]) -> Void
    ) throws(ConntrackError) {
        let socket = try NetlinkSocket(adopting: descriptor)
        let bytes = max(receiveBufferBytes, socket.receiveBuffer)
        try self.init(socket, filter, receiveBufferBytes: bytes, handle: handle)
    }

    private init(
        _ socket: consuming sending NetlinkSocket, _ filter: FlowFilter, receiveBufferBytes: Int,
        handle: @escaping @Sendable ([EndedConnection]) -> Void
    ) throws(ConntrackError) {
        let receiveBuffer = socket.setReceiveBuffer(bytes: receiveBufferBytes)
        try Self.attach(filter, to: socket.descriptor)
        guard let interruption = PollInterruption() else {
            throw ConntrackError(operation: "creating a socket pair", errno: errno)
        }
        self.interruption = interruption
        descriptor = socket.descriptor
        state = Mutex(State(socket))
        self.receiveBuffer = receiveBuffer
        self.filter = filter
        self.handle = handle
    }

    private static func attach(_ filter: FlowFilter, to socket: CInt) throws(ConntrackError) {
        let operation = "filtering conntrack events by protocol"
        guard let kernelFilter = nfct_filter_create() else { throw ConntrackError(operation: operation, errno: errno) }
        defer { nfct_filter_destroy(kernelFilter) }
        for transport in filter.transports {
            nfct_filter_add_attr_u32(kernelFilter, NFCT_FILTER_L4PROTO, UInt32(transport.rawValue))
        }
        guard nfct_filter_attach(socket, kernelFilter) == 0 else {
            throw ConntrackError(operation: operation, errno: errno)
        }
    }

    /// The counters so far.
    public var statistics: Statistics {
        state.withLock { state in
            var statistics = state.statistics
            let zones = state.ledger.zones
            statistics.mergedConnections = zones.mergedConnections
            statistics.zones = zones.example.map { "\($0.0.original) and \($0.1.original)" }
            statistics.unmergedEntries = zones.unmergedEntries
            statistics.foreignResets = state.ledger.resets.foreignResets
            return statistics
        }
    }

    /// Waits for events, at most this many milliseconds or until ``interrupt()``, without holding the lock.
    public func wait(milliseconds: Int) {
        _ = interruption.wait(for: [descriptor], milliseconds: CInt(clamping: milliseconds))
    }

    /// Ends all current and future waits. Callable from any thread.
    public func interrupt() { interruption.interrupt() }

    /// Reads the events that have arrived, at most 128, and passes on their flows.
    ///
    /// - Returns: The number of datagrams received; 0 if none waited.
    @discardableResult
    public func receive() throws(ConntrackError) -> Int {
        try state.withLock { state throws(ConntrackError) in
            state.ledger.readClock()
            return try receive(&state)
        }
    }

    /// Reads all events that have arrived, then calls `body` before any others are read.
    func afterDraining<Result>(
        _ body: (inout ConnectionLedger) throws(ConntrackError) -> Result
    ) throws(ConntrackError) -> Result {
        try state.withLock { state throws(ConntrackError) in
            state.ledger.readClock()
            // Bounded by what the buffer can hold, because more events arrive while these are read.
            var rest = receiveBuffer / Self.chargePerEvent + DatagramSlots.count
            while rest > 0, try receive(&state) == DatagramSlots.count { rest -= DatagramSlots.count }
            state.ledger.beginBatch()
            return try body(&state.ledger)
        }
    }

    /// Calls `body` with the ledger while holding the lock.
    func withLedger<Result>(_ body: (inout ConnectionLedger) -> Result) -> Result {
        state.withLock { body(&$0.ledger) }
    }

    private func receive(_ state: inout State) throws(ConntrackError) -> Int {
        let received = try receiveDatagrams(&state)
        for index in 0..<received { take(state.slots[index], &state) }
        countDrops(&state, isDrained: received < DatagramSlots.count)
        if !state.ended.isEmpty {
            handle(state.ended)
            state.ended.removeAll(keepingCapacity: true)
        }
        return received
    }

    private func receiveDatagrams(_ state: inout State) throws(ConntrackError) -> Int {
        let operation = "receiving conntrack events"
        do throws(ConntrackError) {
            return try state.socket.receive(into: &state.slots, wait: false, operation: operation)
        } catch .system(_, errno: ENOBUFS) {
            // The kernel reports ENOBUFS once, in place of the events that did not fit. The events that did fit can
            // still be read.
            state.statistics.overruns += 1
        }
        do throws(ConntrackError) {
            return try state.socket.receive(into: &state.slots, wait: false, operation: operation)
        } catch .system(_, errno: ENOBUFS) {
            return 0
        }
    }

    /// Handles one datagram; a malformed one does not affect the others.
    private func take(_ content: DatagramSlots.Content, _ state: inout State) {
        guard case .datagram(let datagram) = content else {
            if case .foreign = content {
                state.statistics.foreignDatagrams += 1
            } else {
                state.statistics.malformedEvents += 1
            }
            return
        }
        var messages = NetlinkMessages(datagram)
        do throws(ConntrackError) {
            while let message = try messages.next() {
                guard Int(message.header.nlmsg_type & 0xff) == Int(IPCTNL_MSG_CT_DELETE.rawValue) else { continue }
                guard let attributes = message.attributes, let entry = ConntrackEntry(attributes),
                    entry.flow.isPossible
                else {
                    state.statistics.malformedEvents += 1
                    continue
                }
                take(entry, &state)
            }
        } catch {
            state.statistics.malformedEvents += 1
        }
    }

    private func take(_ entry: ConntrackEntry, _ state: inout State) {
        state.statistics.events += 1
        state.recent.events += 1
        state.recent.bytes += Double(entry.flow.bytes)
        let flow = state.ledger.report(event: entry, where: filter)
        if let reason = filter.reasonToIgnore(flow, in: entry.zone) {
            state.statistics.ignored[reason] += 1
        } else {
            state.ended.append(EndedConnection(flow))
        }
    }

    /// Reads how many events the kernel has dropped, and estimates their bytes once the events received around the same
    /// time have been read.
    private func countDrops(_ state: inout State, isDrained: Bool) {
        let drops = state.socket.drops
        state.newDrops += UInt64(drops &- state.knownDrops)
        state.statistics.droppedEvents += UInt64(drops &- state.knownDrops)
        state.knownDrops = drops
        if state.newDrops > 0 && isDrained && state.recent.events > 0 {
            let mean = state.recent.bytes / state.recent.events
            let estimate = (Double(state.newDrops) * mean).rounded()
            state.statistics.droppedBytesEstimate &+= UInt64(min(estimate, 0x1p62))
            state.newDrops = 0
        }
        if state.recent.events > 50_000 {
            state.recent.events /= 2
            state.recent.bytes /= 2
        }
    }
}
