// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel

/// An entry of the connection table, as decoded from a netlink message.
struct ConntrackEntry {
    /// The connection, with the counters of the message and the number of ``zone``.
    var flow: Flow
    /// The kernel's identifier of the entry, `CTA_ID`; nil if the message has none. It is a hash of the entry's address
    /// and tuples, so the successor of an entry on the same tuples often has the same one (`nf_ct_get_id` in
    /// net/netfilter/nf_conntrack_core.c).
    var id: UInt32?
    /// True once the entry is being destroyed: `IPS_DYING` in `CTA_STATUS`.
    var isDying: Bool
    /// The conntrack zone of the entry.
    var zone: ConntrackZone

    /// Creates an entry from its parts.
    init(flow: Flow, id: UInt32?, isDying: Bool = false, zone: ConntrackZone = .default) {
        self.flow = flow
        self.flow.zone = zone.number
        self.id = id
        self.isDying = isDying
        self.zone = zone
    }

    /// Decodes the attributes of an entry (`enum ctattr_type` in include/uapi/linux/netfilter/nfnetlink_conntrack.h).
    ///
    /// Counters that the kernel left out read as zero; it leaves them out if accounting was off when the entry was
    /// created. Returns nil if a tuple is missing or an attribute does not have the size of its type.
    init?(_ attributes: NetlinkAttributes) {
        var attributes = attributes
        var id: UInt32?
        var status: UInt32 = 0
        var zone = ConntrackZone.default
        var original: ConntrackTuple?
        var reply: ConntrackTuple?
        var originalCounters = FlowCounters()
        var replyCounters = FlowCounters()
        while let attribute = attributes.next() {
            switch attribute.type {
            case Int(CTA_TUPLE_ORIG.rawValue):
                original = ConntrackTuple(attribute.nested)
            case Int(CTA_TUPLE_REPLY.rawValue):
                reply = ConntrackTuple(attribute.nested)
            case Int(CTA_COUNTERS_ORIG.rawValue):
                guard let counters = FlowCounters(conntrackAttributes: attribute.nested) else { return nil }
                originalCounters = counters
            case Int(CTA_COUNTERS_REPLY.rawValue):
                guard let counters = FlowCounters(conntrackAttributes: attribute.nested) else { return nil }
                replyCounters = counters
            case Int(CTA_ID.rawValue):
                guard let value = attribute.number(as: UInt32.self) else { return nil }
                id = value
            case Int(CTA_STATUS.rawValue):
                guard let value = attribute.number(as: UInt32.self) else { return nil }
                status = value
            case Int(CTA_ZONE.rawValue):
                guard let value = attribute.number(as: UInt16.self) else { return nil }
                zone = ConntrackZone(original: value, reply: value)
            default:
                continue
            }
        }
        guard !attributes.isMalformed, let original, let reply else { return nil }
        // A zone that applies to one direction only is in that direction's tuple (CTA_TUPLE_ZONE) and not in CTA_ZONE.
        if original.zone != 0 { zone.original = original.zone }
        if reply.zone != 0 { zone.reply = reply.zone }
        self.init(
            flow: Flow(
                transport: original.transport, original: original.tuple, reply: reply.tuple,
                originalCounters: originalCounters, replyCounters: replyCounters),
            id: id, isDying: status & UInt32(IPS_DYING.rawValue) != 0, zone: zone)
    }
}

/// The conntrack zone of an entry, for each direction of its packets (`struct nf_conntrack_zone`). Every zone is a
/// separate table: a connection that passes two zones of a node has an entry in each, with all of its packets.
struct ConntrackZone: Hashable {
    /// The zone in which packets of the original direction are looked up.
    var original: UInt16
    /// The zone in which replies are looked up.
    var reply: UInt16

    /// The zone of the original direction or, if that is the default zone, of replies.
    var number: UInt16 { original != 0 ? original : reply }

    /// The zone of connections that no rule assigns to another.
    static let `default` = ConntrackZone(original: 0, reply: 0)
}

extension FlowCounters {
    /// Decodes `CTA_COUNTERS_ORIG` or `CTA_COUNTERS_REPLY` (`enum ctattr_counters`).
    fileprivate init?(conntrackAttributes attributes: NetlinkAttributes) {
        var attributes = attributes
        self.init()
        while let attribute = attributes.next() {
            switch attribute.type {
            case Int(CTA_COUNTERS_PACKETS.rawValue):
                guard let value = attribute.number(as: UInt64.self) else { return nil }
                packets = value
            case Int(CTA_COUNTERS_BYTES.rawValue):
                guard let value = attribute.number(as: UInt64.self) else { return nil }
                bytes = value
            default:
                continue
            }
        }
        if attributes.isMalformed { return nil }
    }
}

/// `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY` (`enum ctattr_tuple`, `ctattr_ip`, `ctattr_l4proto`). The ports of a protocol
/// without ports are 0.
private struct ConntrackTuple {
    var tuple: FlowTuple
    var transport: TransportProtocol
    var zone: UInt16

    init?(_ attributes: NetlinkAttributes) {
        var attributes = attributes
        var source: IPAddress?
        var destination: IPAddress?
        var transport: TransportProtocol?
        var sourcePort: UInt16 = 0
        var destinationPort: UInt16 = 0
        var zone: UInt16 = 0
        while let attribute = attributes.next() {
            var nested = attribute.nested
            if attribute.type == Int(CTA_TUPLE_IP.rawValue) {
                while let part = nested.next() {
                    switch part.type {
                    case Int(CTA_IP_V4_SRC.rawValue):
                        source = part.number(as: UInt32.self).map { IPAddress(v4: $0) }
                    case Int(CTA_IP_V4_DST.rawValue):
                        destination = part.number(as: UInt32.self).map { IPAddress(v4: $0) }
                    case Int(CTA_IP_V6_SRC.rawValue):
                        source = part.number(as: UInt128.self).map { IPAddress(bits: $0) }
                    case Int(CTA_IP_V6_DST.rawValue):
                        destination = part.number(as: UInt128.self).map { IPAddress(bits: $0) }
                    default:
                        continue
                    }
                }
            } else if attribute.type == Int(CTA_TUPLE_PROTO.rawValue) {
                while let part = nested.next() {
                    switch part.type {
                    case Int(CTA_PROTO_NUM.rawValue):
                        transport = part.number(as: UInt8.self).map { TransportProtocol(rawValue: $0) }
                    case Int(CTA_PROTO_SRC_PORT.rawValue):
                        guard let port = part.number(as: UInt16.self) else { return nil }
                        sourcePort = port
                    case Int(CTA_PROTO_DST_PORT.rawValue):
                        guard let port = part.number(as: UInt16.self) else { return nil }
                        destinationPort = port
                    default:
                        continue
                    }
                }
            } else if attribute.type == Int(CTA_TUPLE_ZONE.rawValue) {
                guard let value = attribute.number(as: UInt16.self) else { return nil }
                zone = value
                continue
            }
            if nested.isMalformed { return nil }
        }
        guard !attributes.isMalformed, let source, let destination, let transport else { return nil }
        tuple = FlowTuple(
            source: source, destination: destination, sourcePort: sourcePort, destinationPort: destinationPort)
        self.transport = transport
        self.zone = zone
    }
}
