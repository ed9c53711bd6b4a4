// SPDX-License-Identifier: Apache-2.0

import CNetfilter
public import FlowModel

/// The connection table of the network namespace in which the process runs.
///
/// Nothing of the table is kept: entries stream through one receive buffer. The type is not thread-safe.
public struct ConntrackTable: ~Copyable {
    /// What one collection saw.
    public struct Collection: Equatable, Sendable {
        /// Entries in the kernel's answer, whatever they carried.
        public internal(set) var entries = 0
        /// Entries that could not be read; their counters are lost.
        public internal(set) var malformedEntries = 0
        /// Entries that stood first in a message of the kernel's and read zero in the original direction although they
        /// carried packets in the other. The kernel zeroes an entry before it knows that the entry still fits a message
        /// (`ctnetlink_dump_table` in net/netfilter/nf_conntrack_netlink.c); one that does not fit is read anew, as zero,
        /// at the start of the next. What it had counted in the original direction is lost.
        public internal(set) var boundaryHits = 0

        /// A collection that has seen nothing.
        public init() {}
    }

    private let socket: NetlinkSocket
    private var sequence: UInt32 = 0

    /// Opens a netlink socket for requests to the table.
    public init() throws(ConntrackError) {
        socket = try NetlinkSocket()
    }

    /// Reads every entry's counters and sets them to zero, in one dump (`IPCTNL_MSG_CT_GET_CTRZERO`).
    ///
    /// `body` gets each entry as it arrives, before an error may be thrown: what it got has been zeroed in the kernel
    /// and must be reported even if the dump did not reach its end.
    ///
    /// - Returns: What was seen; `error` is set where the dump ended early.
    public mutating func dumpAndZero(_ body: (Flow) -> Void) -> (Collection, error: ConntrackError?) {
        var collection = Collection()
        do throws(ConntrackError) {
            try dump(into: &collection, body)
        } catch {
            return (collection, error)
        }
        return (collection, nil)
    }

    private mutating func dump(
        into collection: inout Collection, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        let operation = "reading and zeroing the conntrack table"
        try send(IPCTNL_MSG_CT_GET_CTRZERO, flags: NLM_F_REQUEST | NLM_F_DUMP, operation)
        var isDone = false
        while !isDone {
            isDone = try socket.receive(operation: operation) { datagram throws(ConntrackError) in
                var messages = NetlinkMessages(datagram)
                var isFirst = true
                while let message = try messages.next() {
                    // An answer to an earlier dump that was given up.
                    guard message.header.nlmsg_seq == sequence else { continue }
                    if let code = try message.errorNumber() {
                        throw ConntrackError(operation: operation, errno: code)
                    }
                    if message.header.nlmsg_type == UInt16(NLMSG_DONE) { return true }
                    collection.entries += 1
                    if let attributes = message.attributes, let flow = Flow(conntrackAttributes: attributes) {
                        if isFirst && flow.originalCounters.packets == 0 && flow.replyCounters.packets > 0 {
                            collection.boundaryHits += 1
                        }
                        body(flow)
                    } else {
                        collection.malformedEntries += 1
                    }
                    isFirst = false
                }
                return false
            }
        }
    }

    /// The number of entries in the table, those of the loopback and of other protocols included
    /// (`IPCTNL_MSG_CT_GET_STATS`).
    public mutating func count() throws(ConntrackError) -> Int {
        let operation = "asking for the size of the conntrack table"
        try send(IPCTNL_MSG_CT_GET_STATS, flags: NLM_F_REQUEST, operation)
        return try socket.receive(operation: operation) { datagram throws(ConntrackError) in
            var messages = NetlinkMessages(datagram)
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
            throw .malformedMessage("no CTA_STATS_GLOBAL_ENTRIES in the answer")
        }
    }

    private mutating func send(
        _ type: cntl_msg_types, flags: Int32, _ operation: String
    ) throws(ConntrackError) {
        sequence &+= 1
        let request = NetfilterRequest(
            header: nlmsghdr(
                nlmsg_len: UInt32(MemoryLayout<NetfilterRequest>.size),
                nlmsg_type: UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(type.rawValue),
                nlmsg_flags: UInt16(flags), nlmsg_seq: sequence, nlmsg_pid: 0),
            // AF_UNSPEC: entries of every family.
            netfilter: nfgenmsg(nfgen_family: 0, version: UInt8(NFNETLINK_V0), res_id: 0))
        try withUnsafeBytes(of: request) { bytes throws(ConntrackError) in
            try socket.send(bytes, operation: operation)
        }
    }
}

/// A request without attributes: the two headers as they stand on the wire.
private struct NetfilterRequest {
    var header: nlmsghdr
    var netfilter: nfgenmsg
}
