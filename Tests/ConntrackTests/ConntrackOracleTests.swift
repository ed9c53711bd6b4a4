// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import TestSupport
import Testing

@testable import Conntrack

/// Decodes an entry with libnetfilter_conntrack.
private func oracle(_ message: UnsafePointer<nlmsghdr>) -> Flow? {
    guard let entry = nfct_new() else { return nil }
    defer { nfct_destroy(entry) }
    guard nfct_nlmsg_parse(message, entry) >= 0 else { return nil }
    func address(_ v4: nf_conntrack_attr, _ v6: nf_conntrack_attr) -> IPAddress? {
        if nfct_attr_is_set(entry, v4) > 0 { return IPAddress(v4: UInt32(bigEndian: nfct_get_attr_u32(entry, v4))) }
        guard nfct_attr_is_set(entry, v6) > 0, let bits = nfct_get_attr(entry, v6) else { return nil }
        return IPAddress(bits: UInt128(bigEndian: bits.loadUnaligned(as: UInt128.self)))
    }
    func port(_ attribute: nf_conntrack_attr) -> UInt16 {
        nfct_attr_is_set(entry, attribute) > 0 ? UInt16(bigEndian: nfct_get_attr_u16(entry, attribute)) : 0
    }
    func counter(_ attribute: nf_conntrack_attr) -> UInt64 {
        nfct_attr_is_set(entry, attribute) > 0 ? nfct_get_attr_u64(entry, attribute) : 0
    }
    guard let source = address(ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC),
        let destination = address(ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST),
        let replySource = address(ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC),
        let replyDestination = address(ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST)
    else { return nil }
    return Flow(
        transport: TransportProtocol(rawValue: nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO)),
        original: FlowTuple(
            source: source, destination: destination, sourcePort: port(ATTR_ORIG_PORT_SRC),
            destinationPort: port(ATTR_ORIG_PORT_DST)),
        reply: FlowTuple(
            source: replySource, destination: replyDestination, sourcePort: port(ATTR_REPL_PORT_SRC),
            destinationPort: port(ATTR_REPL_PORT_DST)),
        originalCounters: FlowCounters(
            packets: counter(ATTR_ORIG_COUNTER_PACKETS), bytes: counter(ATTR_ORIG_COUNTER_BYTES)),
        replyCounters: FlowCounters(
            packets: counter(ATTR_REPL_COUNTER_PACKETS), bytes: counter(ATTR_REPL_COUNTER_BYTES)))
}

@Suite struct ConntrackOracleTests {
    @Test("every entry of a real table is decoded as libnetfilter_conntrack decodes it")
    func everyEntryOfARealTableIsReadAsLibnetfilterConntrackReadsIt() async throws {
        let pairs = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try Traffic.makeMixedTable()
            // Protocols that have no traffic here.
            try NetworkNamespace.shell(
                """
                for port in 1 2 3 4; do
                    conntrack -I -p sctp --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -t 100 \
                        -s 192.0.2.1 -d 192.0.2.2 --sport $port --dport 9
                    conntrack -I -p udplite -t 100 -s 2001:db8::1 -d 2001:db8::2 --sport $port --dport 9
                done
                """)
            return try rawDump().flatMap { datagram in
                try datagram.withUnsafeBytes { bytes in
                    var pairs: [(ours: Flow?, theirs: Flow?)] = []
                    var messages = NetlinkMessages(bytes)
                    while let message = try messages.next(), message.header.nlmsg_type != UInt16(NLMSG_DONE) {
                        let header = try #require(message.payload.baseAddress) - MemoryLayout<nlmsghdr>.size
                        pairs.append(
                            (
                                message.attributes.flatMap { ConntrackEntry($0)?.flow },
                                oracle(header.assumingMemoryBound(to: nlmsghdr.self))
                            ))
                    }
                    return pairs
                }
            }
        }
        #expect(pairs.count == Traffic.mixed.udp + Traffic.mixed.tcp + 2 * Traffic.mixed.translatedTCP + 8)
        #expect(pairs.allSatisfy { $0.theirs != nil })
        for pair in pairs where pair.ours != pair.theirs {
            Issue.record("decoded \(String(describing: pair.ours)), expected \(String(describing: pair.theirs))")
        }
        let flows = pairs.compactMap(\.ours)
        #expect(flows.count { $0.isTranslated } == 100)
        #expect(flows.count { !$0.isIPv4 } > 80)
        #expect(flows.count { $0.replyCounters.bytes > 5_000 } == 50)
        #expect(Set(flows.map(\.transport.rawValue)) == [6, 17, 132, 136])
    }
}
