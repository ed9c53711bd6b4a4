// SPDX-License-Identifier: Apache-2.0

import CNetfilter

/// One netlink message inside a datagram: `struct nlmsghdr` and its payload (include/uapi/linux/netlink.h).
struct NetlinkMessage {
    let header: nlmsghdr
    let payload: UnsafeRawBufferPointer

    /// Returns the error number of an `NLMSG_ERROR`, 0 for an acknowledgement; nil for other messages.
    func errorNumber() throws(ConntrackError) -> Int32? {
        guard header.nlmsg_type == UInt16(NLMSG_ERROR) else { return nil }
        guard payload.count >= MemoryLayout<Int32>.size else {
            throw .malformedMessage("an NLMSG_ERROR of \(payload.count) bytes")
        }
        return 0 &- payload.loadUnaligned(as: Int32.self)
    }

    /// The error number of an `NLMSG_DONE` that ended a dump early; nil if the dump reached its end.
    var doneErrorNumber: Int32? {
        guard payload.count >= MemoryLayout<Int32>.size else { return nil }
        let code = payload.loadUnaligned(as: Int32.self)
        return code < 0 ? 0 &- code : nil
    }

    /// The address family in the `struct nfgenmsg`, 0 if there is none.
    var family: UInt8 { payload.first ?? 0 }

    /// The attributes after the `struct nfgenmsg` that every netfilter message starts with.
    var attributes: NetlinkAttributes? {
        guard payload.count >= MemoryLayout<nfgenmsg>.size else { return nil }
        return NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[MemoryLayout<nfgenmsg>.size...]))
    }
}

/// An iterator over the messages of one datagram.
struct NetlinkMessages {
    private var rest: UnsafeRawBufferPointer

    init(_ datagram: UnsafeRawBufferPointer) { rest = datagram }

    /// Returns the next message, nil at the end. Throws if a length points outside the datagram.
    mutating func next() throws(ConntrackError) -> NetlinkMessage? {
        guard rest.count > 0 else { return nil }
        let headerLength = MemoryLayout<nlmsghdr>.size
        guard rest.count >= headerLength else {
            throw .malformedMessage("\(rest.count) bytes are too few for a message header")
        }
        let header = rest.loadUnaligned(as: nlmsghdr.self)
        let length = Int(header.nlmsg_len)
        guard length >= headerLength, length <= rest.count else {
            throw .malformedMessage("a header announces \(length) bytes where \(rest.count) are left")
        }
        let payload = UnsafeRawBufferPointer(rebasing: rest[headerLength..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, netlinkAligned(length))...])
        return NetlinkMessage(header: header, payload: payload)
    }
}

/// Messages and attributes start at multiples of four bytes (`NLMSG_ALIGN`, `NLA_ALIGN`).
@inline(__always)
func netlinkAligned(_ length: Int) -> Int { (length + 3) & ~3 }
