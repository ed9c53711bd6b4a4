// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc
import TestSupport

@testable import Conntrack

/// Sends messages to another socket of the test as if they came from the kernel.
final class Forger {
    private let socket: OpaquePointer
    private let victim: sockaddr_nl

    /// Creates a forger that sends to the socket with this descriptor.
    init(for descriptor: Int32) throws {
        guard let socket = mnl_socket_open2(NETLINK_NETFILTER, CInt(SOCK_CLOEXEC.rawValue)) else {
            throw TestEnvironmentError("mnl_socket_open2: \(String(cString: strerror(errno)))")
        }
        self.socket = socket
        var victim = sockaddr_nl()
        var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
        _ = withUnsafeMutableBytes(of: &victim) {
            getsockname(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
        }
        self.victim = victim
    }

    /// Creates a forger that sends to all members of these multicast groups, one bit each.
    init(toGroups groups: UInt32) throws {
        guard let socket = mnl_socket_open2(NETLINK_NETFILTER, CInt(SOCK_CLOEXEC.rawValue)) else {
            throw TestEnvironmentError("mnl_socket_open2: \(String(cString: strerror(errno)))")
        }
        self.socket = socket
        victim = sockaddr_nl(nl_family: sa_family_t(AF_NETLINK), nl_pad: 0, nl_pid: 0, nl_groups: groups)
    }

    deinit { mnl_socket_close(socket) }

    /// Makes a socket accept messages that are not from the kernel (connect(2) with `AF_UNSPEC`).
    static func lowerGuard(of descriptor: Int32) {
        let nobody = sockaddr_nl(nl_family: sa_family_t(AF_UNSPEC), nl_pad: 0, nl_pid: 0, nl_groups: 0)
        _ = withUnsafeBytes(of: nobody) {
            connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }

    /// Sends a message; returns 0, or the `errno` with which the kernel refuses to deliver it.
    @discardableResult
    func send(_ type: Int32, flags: Int32 = 0, sequence: UInt32, _ payload: [UInt8]) -> Int32 {
        let header = nlmsghdr(
            nlmsg_len: UInt32(16 + payload.count), nlmsg_type: UInt16(type), nlmsg_flags: UInt16(flags),
            nlmsg_seq: sequence, nlmsg_pid: 0)
        return send(bytes: withUnsafeBytes(of: header, Array.init) + payload)
    }

    /// Sends bytes as they are; returns 0, or the `errno` with which the kernel refuses to deliver them.
    @discardableResult
    func send(bytes message: [UInt8]) -> Int32 {
        let sent = withUnsafeBytes(of: victim) {
            sendto(
                mnl_socket_get_fd(socket), message, message.count, 0,
                $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        return sent < 0 ? errno : 0
    }

    /// Sends an error in the format of the kernel's response to a request (`NLMSG_ERROR`).
    func sendError(_ code: Int32, sequence: UInt32) {
        let request = withUnsafeBytes(of: nlmsghdr(), Array.init)
        send(NLMSG_ERROR, sequence: sequence, withUnsafeBytes(of: -code, Array.init) + request)
    }
}
