// SPDX-License-Identifier: Apache-2.0

/// The addresses and ports of one direction of a connection, as in its packets' headers.
public struct FlowTuple: Hashable, Sendable {
    /// The sender's address.
    public var source: IPAddress
    /// The receiver's address.
    public var destination: IPAddress
    /// The sender's port in host order.
    public var sourcePort: UInt16
    /// The receiver's port in host order.
    public var destinationPort: UInt16

    /// Makes a tuple from its four parts.
    @inlinable
    public init(source: IPAddress, destination: IPAddress, sourcePort: UInt16, destinationPort: UInt16) {
        self.source = source
        self.destination = destination
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    /// The tuple of the opposite direction, which replies carry if no address or port is translated.
    @inlinable
    public var mirrored: FlowTuple {
        FlowTuple(
            source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort)
    }
}

/// The traffic of one direction of a connection since its counters were last read.
public struct FlowCounters: Hashable, Sendable {
    /// IP packets.
    public var packets: UInt64
    /// Bytes of those packets, IP headers included, link-layer headers not (`skb->len` in
    /// net/netfilter/nf_conntrack_core.c).
    public var bytes: UInt64

    /// Makes counters from their values.
    @inlinable
    public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
        self.packets = packets
        self.bytes = bytes
    }

    /// Whether there is nothing to report.
    @inlinable
    public var isZero: Bool { packets == 0 && bytes == 0 }

    /// Adds further counts.
    @inlinable
    public static func += (sum: inout FlowCounters, counters: FlowCounters) {
        sum.packets &+= counters.packets
        sum.bytes &+= counters.bytes
    }

    /// The largest count that one observation may carry, 2^50 (1 PiB): a link of 800 Gbit/s needs three hours for that
    /// many bytes. A larger number means that the message is damaged.
    public static let maximum: UInt64 = 1 << 50

    /// Whether both numbers are at most ``maximum``.
    @inlinable
    public var isPossible: Bool { packets <= Self.maximum && bytes <= Self.maximum }
}

/// A connection as conntrack knows it, and its traffic in one observation.
public struct Flow: Hashable, Sendable {
    /// The transport protocol.
    public var transport: TransportProtocol
    /// The conntrack zone in which the kernel keeps the connection; 0 for the default zone. It fits in padding, so that
    /// it takes no memory.
    public var zone: UInt16
    /// The tuple of the packet that opened the connection: the first one that conntrack saw.
    public var original: FlowTuple
    /// The tuple that replies carry. Its source is the real peer behind a translated destination.
    public var reply: FlowTuple
    /// The traffic in the original direction.
    public var originalCounters: FlowCounters
    /// The traffic in the reply direction.
    public var replyCounters: FlowCounters

    /// Makes a flow from its parts.
    @inlinable
    public init(
        transport: TransportProtocol, original: FlowTuple, reply: FlowTuple,
        originalCounters: FlowCounters, replyCounters: FlowCounters, zone: UInt16 = 0
    ) {
        self.transport = transport
        self.zone = zone
        self.original = original
        self.reply = reply
        self.originalCounters = originalCounters
        self.replyCounters = replyCounters
    }

    /// Bytes of both directions.
    @inlinable
    public var bytes: UInt64 { originalCounters.bytes &+ replyCounters.bytes }

    /// Whether the counters of both directions are possible in one observation; see ``FlowCounters/maximum``.
    @inlinable
    public var isPossible: Bool { originalCounters.isPossible && replyCounters.isPossible }

    /// Whether an address or a port is translated on the way: the reply tuple is not the original's mirror.
    @inlinable
    public var isTranslated: Bool { reply != original.mirrored }

    /// Whether all four addresses are IPv4.
    @inlinable
    public var isIPv4: Bool {
        original.source.isIPv4 && original.destination.isIPv4 && reply.source.isIPv4 && reply.destination.isIPv4
    }
}
