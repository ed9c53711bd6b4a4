// SPDX-License-Identifier: Apache-2.0

/// The number in the IPv4 protocol or IPv6 next-header field (IANA "Assigned Internet Protocol Numbers").
public struct TransportProtocol: RawRepresentable, Hashable, Sendable {
    /// The protocol's number.
    public let rawValue: UInt8

    /// Makes a protocol of its number.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Transmission Control Protocol (RFC 9293).
    @inlinable
    public static var tcp: TransportProtocol { TransportProtocol(rawValue: 6) }
    /// User Datagram Protocol (RFC 768).
    @inlinable
    public static var udp: TransportProtocol { TransportProtocol(rawValue: 17) }
    /// Stream Control Transmission Protocol (RFC 9260).
    @inlinable
    public static var sctp: TransportProtocol { TransportProtocol(rawValue: 132) }
}

/// One direction of a connection: who sends to whom, as a packet's headers say it.
public struct FlowTuple: Hashable, Sendable {
    /// The sender's address.
    public var source: IPAddress
    /// The receiver's address.
    public var destination: IPAddress
    /// The sender's port in host order.
    public var sourcePort: UInt16
    /// The receiver's port in host order.
    public var destinationPort: UInt16

    /// Makes a tuple of its four parts.
    @inlinable
    public init(source: IPAddress, destination: IPAddress, sourcePort: UInt16, destinationPort: UInt16) {
        self.source = source
        self.destination = destination
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    /// The same connection seen from its other end, as replies carry it where no address is translated.
    @inlinable
    public var mirrored: FlowTuple {
        FlowTuple(
            source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort)
    }
}

/// What one direction of a connection has carried since it was last asked.
public struct FlowCounters: Hashable, Sendable {
    /// IP packets.
    public var packets: UInt64
    /// Bytes of those packets, IP headers included, link-layer headers not (`skb->len` in
    /// net/netfilter/nf_conntrack_core.c).
    public var bytes: UInt64

    /// Makes counters of their values.
    @inlinable
    public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
        self.packets = packets
        self.bytes = bytes
    }

    /// Whether there is nothing to report.
    @inlinable
    public var isZero: Bool { packets == 0 && bytes == 0 }

    /// Adds what was counted besides.
    @inlinable
    public static func += (sum: inout FlowCounters, counters: FlowCounters) {
        sum.packets &+= counters.packets
        sum.bytes &+= counters.bytes
    }

    /// The largest number that one observation may carry, 2^50 (1 PiB): a link of 800 Gbit/s needs three hours for that
    /// many bytes. A larger one is no count but a damaged message.
    public static let maximum: UInt64 = 1 << 50

    /// True where both numbers are at most ``maximum``.
    @inlinable
    public var isPossible: Bool { packets <= Self.maximum && bytes <= Self.maximum }
}

/// A connection as conntrack knows it, and what it has carried in one observation.
public struct Flow: Hashable, Sendable {
    /// The transport protocol.
    public var transport: TransportProtocol
    /// The tuple of the packet that opened the connection.
    public var original: FlowTuple
    /// The tuple that replies carry. Its source is the real peer behind a translated destination.
    public var reply: FlowTuple
    /// What went in the original direction.
    public var originalCounters: FlowCounters
    /// What came back.
    public var replyCounters: FlowCounters

    /// Makes a flow of its parts.
    @inlinable
    public init(
        transport: TransportProtocol, original: FlowTuple, reply: FlowTuple,
        originalCounters: FlowCounters, replyCounters: FlowCounters
    ) {
        self.transport = transport
        self.original = original
        self.reply = reply
        self.originalCounters = originalCounters
        self.replyCounters = replyCounters
    }

    /// Bytes of both directions.
    @inlinable
    public var bytes: UInt64 { originalCounters.bytes &+ replyCounters.bytes }

    /// True where the counters of both directions can be what one observation has found; see ``FlowCounters/maximum``.
    @inlinable
    public var isPossible: Bool { originalCounters.isPossible && replyCounters.isPossible }

    /// Whether an address or a port is translated on the way, that is the reply is not the original's mirror.
    @inlinable
    public var isTranslated: Bool { reply != original.mirrored }

    /// Whether all four addresses are IPv4.
    @inlinable
    public var isIPv4: Bool {
        original.source.isIPv4 && original.destination.isIPv4 && reply.source.isIPv4 && reply.destination.isIPv4
    }
}
