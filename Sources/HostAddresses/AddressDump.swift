// SPDX-License-Identifier: Apache-2.0

import CRtnetlink
import FlowModel
import Glibc

/// The part of the kernel's response to `RTM_GETADDR` that has been decoded so far.
struct AddressDump {
    /// The addresses, except for loopback, unspecified and IPv6 link-local ones. Every interface has an IPv6 link-local
    /// address, so these come and go with pods, which use them only to find their router.
    private(set) var addresses: Set<IPAddress> = []
    /// True once the response has ended.
    private(set) var isComplete = false
    /// True if the addresses changed during the dump, so that some may be missing.
    private(set) var isInterrupted = false
    /// Messages that could not be decoded, and trailing bytes of datagrams that contain no message.
    private(set) var malformedMessages = 0

    /// The indexes of interfaces whose addresses are ignored.
    private let ignoredInterfaces: Set<UInt32>

    init(without ignoredInterfaces: Set<UInt32> = []) { self.ignoredInterfaces = ignoredInterfaces }

    /// Decodes one datagram of the response; throws if the kernel responds with an error.
    mutating func append(_ datagram: UnsafeRawBufferPointer) throws(RouteSocketError) {
        var messages = LengthPrefixed<nlmsghdr>(datagram, length: { Int($0.nlmsg_len) })
        while let (header, payload) = messages.next() {
            if header.nlmsg_flags & UInt16(NLM_F_DUMP_INTR) != 0 { isInterrupted = true }
            switch Int(header.nlmsg_type) {
            case Int(NLMSG_DONE), Int(NLMSG_ERROR):
                // Both carry 0 or a negative errno; an NLMSG_DONE of old kernels carries nothing.
                let code = payload.count >= 4 ? payload.loadUnaligned(as: CInt.self) : 0
                guard code == 0 else { throw RouteSocketError("reading the host's addresses", errno: 0 &- code) }
                isComplete = true
            case Int(RTM_NEWADDR): append(message: payload)
            default: break
            }
        }
        if messages.isMalformed { malformedMessages += 1 }
    }

    private mutating func append(message: UnsafeRawBufferPointer) {
        guard message.count >= MemoryLayout<ifaddrmsg>.size else { return malformedMessages += 1 }
        let header = message.loadUnaligned(as: ifaddrmsg.self)
        guard !ignoredInterfaces.contains(header.ifa_index),
            header.ifa_family == UInt8(AF_INET) || header.ifa_family == UInt8(AF_INET6)
        else { return }
        var attributes = LengthPrefixed<rtattr>(
            UnsafeRawBufferPointer(rebasing: message[MemoryLayout<ifaddrmsg>.size...]), length: { Int($0.rta_len) })
        // If there is a peer, IFA_ADDRESS is the peer's address and IFA_LOCAL the host's own (linux/if_addr.h).
        var (local, other): (IPAddress?, IPAddress?)
        while let (header, payload) = attributes.next() {
            switch Int(header.rta_type) {
            case Int(IFA_LOCAL): local = IPAddress(payload)
            case Int(IFA_ADDRESS): other = IPAddress(payload)
            default: break
            }
        }
        guard !attributes.isMalformed, let address = local ?? other else { return malformedMessages += 1 }
        let isUnspecified = address.bits == 0 || address.v4 == 0
        let isLinkLocalIPv6 = address.bits >> 118 == 0xfe80 >> 6
        if !isUnspecified && !isLinkLocalIPv6 && !address.isLoopback { addresses.insert(address) }
    }
}

extension IPAddress {
    /// Decodes 4 or 16 bytes in network byte order; nil for any other number of bytes.
    fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
        switch bytes.count {
        case 4: self.init(v4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16: self.init(bits: UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self)))
        default: return nil
        }
    }
}

/// An iterator over netlink messages or attributes: a header that contains the length of header and payload, the
/// payload, and padding to a multiple of four bytes. It ends after the last one, or at the first whose length points
/// outside the bytes.
private struct LengthPrefixed<Header: BitwiseCopyable> {
    private var rest: UnsafeRawBufferPointer
    private let length: (Header) -> Int
    private(set) var isMalformed = false

    init(_ bytes: UnsafeRawBufferPointer, length: @escaping (Header) -> Int) {
        rest = bytes
        self.length = length
    }

    mutating func next() -> (header: Header, payload: UnsafeRawBufferPointer)? {
        guard !rest.isEmpty, !isMalformed else { return nil }
        let headerLength = MemoryLayout<Header>.size
        guard rest.count >= headerLength else { return fail() }
        let header = rest.loadUnaligned(as: Header.self)
        let length = length(header)
        guard length >= headerLength, length <= rest.count else { return fail() }
        let payload = UnsafeRawBufferPointer(rebasing: rest[headerLength..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, (length + 3) & ~3)...])
        return (header, payload)
    }

    private mutating func fail() -> (header: Header, payload: UnsafeRawBufferPointer)? {
        isMalformed = true
        return nil
    }
}
