// SPDX-License-Identifier: Apache-2.0

import CRtnetlink
import FlowModel
import Glibc

/// What the kernel's answer to `RTM_GETADDR` has told so far.
struct AddressDump {
    /// The addresses, but for loopback and unspecified ones, and for IPv6's link-local ones: every interface has one of
    /// those, and so they come and go with pods, who speak to them only to find their router.
    private(set) var addresses: Set<IPAddress> = []
    /// True once the answer has ended.
    private(set) var isComplete = false
    /// True where the addresses have changed meanwhile, so that some may be missing.
    private(set) var isInterrupted = false
    /// Messages that could not be read, and ends of datagrams that hold none.
    private(set) var malformedMessages = 0

    /// The indexes of interfaces whose addresses are left out.
    private let ignoredInterfaces: Set<UInt32>

    init(without ignoredInterfaces: Set<UInt32> = []) { self.ignoredInterfaces = ignoredInterfaces }

    /// Takes one datagram of the answer; throws where the kernel answers with an error.
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
        // IFA_ADDRESS is the peer's where there is one, and IFA_LOCAL then the host's own (linux/if_addr.h).
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
    /// Reads 4 or 16 bytes in network order; nil where there are others.
    fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
        switch bytes.count {
        case 4: self.init(v4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16: self.init(bits: UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self)))
        default: return nil
        }
    }
}

/// Walks over netlink messages or attributes: a header that tells the length of both, a payload, and padding to a
/// multiple of four bytes. It ends where they end, or at the first whose length points outside.
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
