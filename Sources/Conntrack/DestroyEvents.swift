// SPDX-License-Identifier: Apache-2.0

import CNetfilter
public import FlowModel
import Glibc
import Synchronization

/// The kernel's DESTROY events: what each connection that has ended had counted since it was last zeroed.
///
/// Without them, connections that live and end between two collections, and the last bytes of all others, are never seen.
/// Open it before the first collection. The kernel sends no such event for entries that were made before a listener existed
/// where `net.netfilter.nf_conntrack_events` is 2, its default (Documentation/networking/nf_conntrack-sysctl.rst).
///
/// A collection that zeroes entries does so under the lock of these events: it takes all events that have come, sends its
/// requests, and reads their answers, so that events and answers are known to be before or after one another; see
/// `DyingEntries`. Events are therefore taken by whichever thread comes first and handed on by it.
///
/// Delivery is best effort on purpose. With `NETLINK_BROADCAST_ERROR` the kernel would keep every ended entry until its
/// event is delivered: nothing is lost, but a listener that stalls then fills the table and the node drops new
/// connections. A large buffer loses nothing unless the listener stalls for seconds, and then it loses counts, not
/// connections.
public final class DestroyEvents: Sendable {
    /// What has been received so far.
    public struct Statistics: Equatable, Sendable {
        /// Events that could be read.
        public internal(set) var events: UInt64 = 0
        /// Events that were left out.
        public internal(set) var ignored = FlowFilter.Counts()
        /// Times that the kernel began to drop events because the buffer was full.
        public internal(set) var overruns: UInt64 = 0
        /// Events that the kernel dropped, as the socket counts them.
        public internal(set) var droppedEvents: UInt64 = 0
        /// An estimate of the bytes that they carried: their number times the mean of the events received about then.
        public internal(set) var droppedBytesEstimate: UInt64 = 0
        /// Datagrams and events that could not be read, and events with impossible counters; what they counted is lost.
        public internal(set) var malformedEvents: UInt64 = 0
        /// Datagrams of other processes, which were not read.
        public internal(set) var foreignDatagrams: UInt64 = 0
        /// Connections that have been found in more than one conntrack zone.
        public internal(set) var mergedConnections: UInt64 = 0
        /// Two zones in which one connection was found last, as text; nil where none was.
        public internal(set) var zones: String?
        /// Entries reported once for each of their zones because too many connections stand in several.
        public internal(set) var unmergedEntries: UInt64 = 0
        /// Entries whose counters another program has zeroed.
        public internal(set) var foreignResets: UInt64 = 0

        /// Nothing has been received.
        public init() {}
    }

    /// What the kernel charges a socket's buffer for one event, in bytes, as measured.
    public static let chargePerEvent = 1280

    /// The most events that one call of ``receive()`` takes.
    public static let maximumReceived = DatagramSlots.count

    /// Room for events that wait, in bytes as the kernel counts it.
    public let receiveBuffer: Int

    private struct State: ~Copyable {
        let socket: NetlinkSocket
        var slots = DatagramSlots()
        var ledger = ConnectionLedger()
        /// The flows of the datagrams that have just been received.
        var flows: [Flow] = []
        var statistics = Statistics()
        var knownDrops: UInt32
        /// Dropped events whose bytes are not estimated yet.
        var newDrops: UInt64 = 0
        /// Events and their bytes, the older ones counting less.
        var recent = (events: 0.0, bytes: 0.0)

        init(_ socket: consuming NetlinkSocket) {
            knownDrops = socket.drops
            self.socket = socket
        }
    }

    private let state: Mutex<State>
    /// The socket's descriptor, to be lent to a process that listens on; it is open for as long as this object lives.
    public let descriptor: CInt
    private let filter: FlowFilter
    private let handle: @Sendable ([Flow]) -> Void

    /// Begins to listen.
    ///
    /// - Parameters:
    ///   - filter: What is reported. The kernel drops events of other protocols before they reach the buffer.
    ///   - receiveBufferBytes: Room for events that wait. Without CAP_NET_ADMIN in the initial user namespace it may
    ///     become less; see ``receiveBuffer``.
    ///   - handle: Gets the flows of ended connections, up to 128 at a time. Called on the thread that received them, with
    ///     the events' lock held.
    public convenience init(
        _ filter: FlowFilter, receiveBufferBytes: Int, handle: @escaping @Sendable ([Flow]) -> Void
    ) throws(ConntrackError) {
        let socket = try NetlinkSocket(groups: CUnsignedInt(NF_NETLINK_CONNTRACK_DESTROY))
        try self.init(socket, filter, receiveBufferBytes: receiveBufferBytes, handle: handle)
    }

    /// Goes on listening where another process has stopped: the events that have come since wait in its socket.
    ///
    /// - Parameters:
    ///   - descriptor: The other's socket, one that ``EventSocket/isOne(_:)`` has found to be of this network namespace.
    ///     It remains the caller's.
    ///   - filter: What is reported from now on, of the events that wait too.
    ///   - receiveBufferBytes: Room for events that wait. The socket keeps what it has where that is more: a smaller buffer
    ///     could drop what comes while others wait.
    ///   - handle: Gets the flows of ended connections, as for the other initializer.
    public convenience init(
        adopting descriptor: CInt, _ filter: FlowFilter, receiveBufferBytes: Int,
        handle: @escaping @Sendable ([Flow]) -> Void
    ) throws(ConntrackError) {
        let socket = try NetlinkSocket(adopting: descriptor)
        let bytes = max(receiveBufferBytes, socket.receiveBuffer)
        try self.init(socket, filter, receiveBufferBytes: bytes, handle: handle)
    }

    private init(
        _ socket: consuming sending NetlinkSocket, _ filter: FlowFilter, receiveBufferBytes: Int,
        handle: @escaping @Sendable ([Flow]) -> Void
    ) throws(ConntrackError) {
        let receiveBuffer = socket.setReceiveBuffer(bytes: receiveBufferBytes)
        try Self.attach(filter, to: socket.descriptor)
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

    /// What has been received so far.
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

    /// Waits until events have come, at most for so many milliseconds. Holds no lock.
    public func wait(milliseconds: Int) {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        poll(&request, 1, CInt(clamping: milliseconds))
    }

    /// Takes the events that have come, at most 128, and hands on their flows.
    ///
    /// - Returns: The number of datagrams received; 0 where none waited.
    @discardableResult
    public func receive() throws(ConntrackError) -> Int {
        try state.withLock { state throws(ConntrackError) in
            state.ledger.readClock()
            return try receive(&state)
        }
    }

    /// Takes all events that have come, then calls `body` before any others are taken.
    func afterDraining<Result>(
        _ body: (inout ConnectionLedger) throws(ConntrackError) -> Result
    ) throws(ConntrackError) -> Result {
        try state.withLock { state throws(ConntrackError) in
            state.ledger.readClock()
            // As many as there can be: more come while these are taken.
            var rest = receiveBuffer / Self.chargePerEvent + DatagramSlots.count
            while rest > 0, try receive(&state) == DatagramSlots.count { rest -= DatagramSlots.count }
            state.ledger.beginBatch()
            return try body(&state.ledger)
        }
    }

    /// Calls `body` with what has been reported so far.
    func withLedger<Result>(_ body: (inout ConnectionLedger) -> Result) -> Result {
        state.withLock { body(&$0.ledger) }
    }

    private func receive(_ state: inout State) throws(ConntrackError) -> Int {
        let received = try receiveDatagrams(&state)
        for index in 0..<received { take(state.slots[index], &state) }
        countDrops(&state, isDrained: received < DatagramSlots.count)
        if !state.flows.isEmpty {
            handle(state.flows)
            state.flows.removeAll(keepingCapacity: true)
        }
        return received
    }

    private func receiveDatagrams(_ state: inout State) throws(ConntrackError) -> Int {
        let operation = "receiving conntrack events"
        do throws(ConntrackError) {
            return try state.socket.receive(into: &state.slots, wait: false, operation: operation)
        } catch .system(_, errno: ENOBUFS) {
            // Told once, in place of the events that did not fit; those that did are still to be read.
            state.statistics.overruns += 1
        }
        do throws(ConntrackError) {
            return try state.socket.receive(into: &state.slots, wait: false, operation: operation)
        } catch .system(_, errno: ENOBUFS) {
            return 0
        }
    }

    /// Takes one datagram; one that cannot be read costs the others nothing.
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
            state.flows.append(flow)
        }
    }

    /// Reads how many events the kernel has dropped, and estimates their bytes once those about them have been read.
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
