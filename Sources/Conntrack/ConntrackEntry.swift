// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel

extension Flow {
    /// Reads an entry of the connection table (`enum ctattr_type` in include/uapi/linux/netfilter/nfnetlink_conntrack.h).
    ///
    /// Counters that the kernel left out, as it does where accounting was off when the entry was made, read as zero.
    /// Nil where a tuple is missing or an attribute does not have the size of its type.
    init?(conntrackAttributes attributes: NetlinkAttributes) {
        var attributes = attributes
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
            default:
                continue
            }
        }
        guard !attributes.isMalformed, let original, let reply else { return nil }
        self.init(
            transport: original.transport, original: original.tuple, reply: reply.tuple,
            originalCounters: originalCounters, replyCounters: replyCounters)
    }
}

extension FlowCounters {
    /// Reads `CTA_COUNTERS_ORIG` or `CTA_COUNTERS_REPLY` (`enum ctattr_counters`).
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

/// `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY` (`enum ctattr_tuple`, `ctattr_ip`, `ctattr_l4proto`). Protocols without ports
/// read as port 0.
private struct ConntrackTuple {
    var tuple: FlowTuple
    var transport: TransportProtocol

    init?(_ attributes: NetlinkAttributes) {
        var attributes = attributes
        var source: IPAddress?
        var destination: IPAddress?
        var transport: TransportProtocol?
        var sourcePort: UInt16 = 0
        var destinationPort: UInt16 = 0
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
            }
            if nested.isMalformed { return nil }
        }
        guard !attributes.isMalformed, let source, let destination, let transport else { return nil }
        tuple = FlowTuple(
            source: source, destination: destination, sourcePort: sourcePort, destinationPort: destinationPort)
        self.transport = transport
    }
}
