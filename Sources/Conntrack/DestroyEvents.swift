// SPDX-License-Identifier: Apache-2.0

import CNetfilter
public import FlowModel
import Glibc

/// The kernel's word on connections that have ended: what each had counted since it was last zeroed.
///
/// Without it, connections that live and end between two collections, and the last bytes of all others, are never seen.
/// Open it before the first collection. The kernel sends no such event for entries that were made before somebody
/// listened where `net.netfilter.nf_conntrack_events` is 2, its default (Documentation/networking/nf_conntrack-sysctl.rst).
///
/// Delivery is best effort on purpose. With `NETLINK_BROADCAST_ERROR` the kernel would keep every ended entry until its
/// event is delivered: nothing is lost, but a listener that stalls then fills the table and the node drops new
/// connections. A large buffer loses nothing unless the listener stalls for seconds, and then it loses counts, not
/// connections.
public struct DestroyEvents: ~Copyable {
    /// What one call of ``receive(_:)`` saw.
    public struct Received: Equatable, Sendable {
        /// Events.
        public internal(set) var events = 0
        /// Times that the kernel had to drop events because the buffer was full. How many, and of how many bytes, it
        /// does not tell.
        public internal(set) var overruns = 0
        /// Events that could not be read; their counters are lost.
        public internal(set) var malformedEvents = 0
    }

    /// What the kernel charges a socket's buffer for one event, in bytes, as measured.
    public static let chargePerEvent = 1280

    /// Room for events that wait, in bytes as the kernel counts it.
    public let receiveBuffer: Int

    private let socket: NetlinkSocket
    private var slots = DatagramSlots()

    /// Begins to listen.
    ///
    /// - Parameters:
    ///   - filter: The protocols to hear of; the kernel drops the others' events before they reach the buffer.
    ///   - receiveBufferBytes: Room for events that wait. Without CAP_NET_ADMIN in the initial user namespace it may
    ///     become less; see ``receiveBuffer``.
    ///   - wait: How long ``receive(_:)`` waits for an event, in milliseconds.
    public init(_ filter: FlowFilter, receiveBufferBytes: Int, waitMilliseconds wait: Int) throws(ConntrackError) {
        let socket = try NetlinkSocket(
            groups: CUnsignedInt(NF_NETLINK_CONNTRACK_DESTROY),
            receiveTimeout: timeval(tv_sec: wait / 1000, tv_usec: wait % 1000 * 1000))
        let receiveBuffer = socket.setReceiveBuffer(bytes: receiveBufferBytes)
        try Self.attach(filter, to: socket.descriptor)
        self.socket = socket
        self.receiveBuffer = receiveBuffer
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

    /// Waits for events and hands on their flows, idle ones included.
    public mutating func receive(_ body: (Flow) -> Void) throws(ConntrackError) -> Received {
        var received = Received()
        do throws(ConntrackError) {
            try drain(&received, body)
        } catch .system(_, errno: ENOBUFS) {
            received.overruns += 1
        }
        return received
    }

    private mutating func drain(_ received: inout Received, _ body: (Flow) -> Void) throws(ConntrackError) {
        let count = try socket.receive(into: &slots, wait: true, operation: "receiving conntrack events")
        for index in 0..<count {
            guard let datagram = slots[index] else {
                received.malformedEvents += 1
                continue
            }
            var messages = NetlinkMessages(datagram)
            while let message = try messages.next() {
                guard Int(message.header.nlmsg_type & 0xff) == Int(IPCTNL_MSG_CT_DELETE.rawValue) else { continue }
                if let attributes = message.attributes, let flow = Flow(conntrackAttributes: attributes) {
                    received.events += 1
                    body(flow)
                } else {
                    received.malformedEvents += 1
                }
            }
        }
    }
}
