// SPDX-License-Identifier: Apache-2.0

import CNetfilter

/// The two headers at the start of every ctnetlink request, in wire format.
struct NetfilterRequest {
    var header: nlmsghdr
    var netfilter: nfgenmsg

    /// Creates the headers of a request.
    ///
    /// - Parameters:
    ///   - type: The ctnetlink operation.
    ///   - flags: `NLM_F_REQUEST` and any further flags.
    ///   - sequence: The number that the response repeats.
    ///   - family: The address family, 0 (`AF_UNSPEC`) for all.
    ///   - attributesLength: The size in bytes of the attributes that follow.
    init(_ type: cntl_msg_types, flags: Int32, sequence: UInt32, family: UInt8 = 0, attributesLength: Int = 0) {
        header = nlmsghdr(
            nlmsg_len: UInt32(MemoryLayout<NetfilterRequest>.size + attributesLength),
            nlmsg_type: Self.type(type),
            nlmsg_flags: UInt16(flags), nlmsg_seq: sequence, nlmsg_pid: 0)
        netfilter = nfgenmsg(nfgen_family: family, version: UInt8(NFNETLINK_V0), res_id: 0)
    }
    /// Returns the message type of a ctnetlink request.
    static func type(_ type: cntl_msg_types) -> UInt16 { UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(type.rawValue) }
}
