// SPDX-License-Identifier: Apache-2.0

import CRtnetlink
import Glibc

/// A netlink socket to the kernel's address table (rtnetlink(7)). Reading the table and receiving its changes needs no
/// capability.
struct RouteSocket: ~Copyable {
    let descriptor: CInt

    /// Opens and binds a socket; the kernel chooses its port and rejects messages that other processes send to it.
    ///
    /// - Parameter groups: The multicast groups to join, one bit each (`RTMGRP_…`).
    init(groups: UInt32 = 0) throws(RouteSocketError) {
        let operation = "opening an rtnetlink socket"
        descriptor = socket(AF_NETLINK, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), NETLINK_ROUTE)
        guard descriptor >= 0 else { throw RouteSocketError(operation, errno: errno) }
        // The kernel responds to a dump while it is received, so only a bug in this module could make a receive wait.
        var timeout = timeval(tv_sec: 5, tv_usec: 0)
        guard Self.with(groups: groups, { bind(descriptor, $0, $1) }) == 0,
            Self.with(groups: 0, { connect(descriptor, $0, $1) }) == 0,
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size)) == 0
        else { throw RouteSocketError(operation, errno: errno) }
    }

    private static func with(groups: UInt32, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
        var address = sockaddr_nl(nl_family: sa_family_t(AF_NETLINK), nl_pad: 0, nl_pid: 0, nl_groups: groups)
        return withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { address in
                guard let base = address.baseAddress else { return -1 }
                return body(base, socklen_t(bytes.count))
            }
        }
    }

    deinit { close(descriptor) }

    /// Requests all addresses of both families.
    func requestAddresses() throws(RouteSocketError) {
        struct Request {
            var header = nlmsghdr(
                nlmsg_len: UInt32(MemoryLayout<Request>.size), nlmsg_type: UInt16(RTM_GETADDR),
                nlmsg_flags: UInt16(NLM_F_REQUEST | NLM_F_DUMP), nlmsg_seq: 1, nlmsg_pid: 0)
            var body = ifaddrmsg(
                ifa_family: UInt8(AF_UNSPEC), ifa_prefixlen: 0, ifa_flags: 0, ifa_scope: 0, ifa_index: 0)
        }
        let sent = withUnsafeBytes(of: Request()) { send(descriptor, $0.baseAddress, $0.count, 0) }
        guard sent >= 0 else { throw RouteSocketError("requesting the host's addresses", errno: errno) }
    }

    /// Receives the next datagram, which is valid in `buffer` until the next call. A datagram that does not fit is an
    /// error.
    func receive(into buffer: UnsafeMutableRawBufferPointer) throws(RouteSocketError) -> UnsafeRawBufferPointer {
        let operation = "receiving the host's addresses"
        var length: Int
        repeat {
            length = recv(descriptor, buffer.baseAddress, buffer.count, CInt(truncatingIfNeeded: MSG_TRUNC))
        } while length < 0 && errno == EINTR
        guard length >= 0 else { throw RouteSocketError(operation, errno: errno) }
        guard length <= buffer.count else { throw RouteSocketError(operation, errno: EMSGSIZE) }
        return UnsafeRawBufferPointer(rebasing: buffer[..<length])
    }

    /// Discards all messages that have arrived, and the error of an overrun (ENOBUFS).
    func discardReceived() {
        var byte: UInt8 = 0
        // Bounded by more than the buffer holds: messages that arrive meanwhile may be left for the next call.
        for _ in 0..<4096 {
            let length = recv(descriptor, &byte, 1, CInt(truncatingIfNeeded: MSG_DONTWAIT))
            guard length >= 0 || errno == ENOBUFS || errno == EINTR else { return }
        }
    }
}
