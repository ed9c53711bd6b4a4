// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc

/// A netlink socket towards the kernel's netfilter subsystem (netlink(7), `NETLINK_NETFILTER`) with its receive buffer.
struct NetlinkSocket: ~Copyable {
    /// How long the kernel may take for the next message of an answer.
    static let receiveTimeoutSeconds = 30

    /// The size from which on the kernel no longer grows the messages of a dump: `netlink_dump()` caps them at 32 KiB.
    static let receiveBufferSize = 32 * 1024

    private let socket: OpaquePointer
    private let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: receiveBufferSize, alignment: MemoryLayout<nlmsghdr>.alignment)

    /// Opens and binds a socket; the kernel chooses its port.
    init() throws(ConntrackError) {
        socket = try Self.open()
    }

    private static func open() throws(ConntrackError) -> OpaquePointer {
        guard let socket = mnl_socket_open2(NETLINK_NETFILTER, CInt(SOCK_CLOEXEC.rawValue)) else {
            throw ConntrackError(operation: "opening a netfilter netlink socket", errno: errno)
        }
        var timeout = timeval(tv_sec: receiveTimeoutSeconds, tv_usec: 0)
        let timeoutLength = socklen_t(MemoryLayout<timeval>.size)
        // MNL_SOCKET_AUTOPID is 0.
        guard mnl_socket_bind(socket, 0, 0) == 0,
            setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, timeoutLength) == 0
        else {
            let error = ConntrackError(operation: "binding a netfilter netlink socket", errno: errno)
            mnl_socket_close(socket)
            throw error
        }
        return socket
    }

    deinit {
        mnl_socket_close(socket)
        buffer.deallocate()
    }

    /// Sends one request.
    func send(_ request: UnsafeRawBufferPointer, operation: String) throws(ConntrackError) {
        guard mnl_socket_sendto(socket, request.baseAddress, request.count) >= 0 else {
            throw ConntrackError(operation: operation, errno: errno)
        }
    }

    /// Waits for the next datagram and lends it to `body`; it is gone when `body` returns.
    func receive<Result>(
        operation: String, _ body: (UnsafeRawBufferPointer) throws(ConntrackError) -> Result
    ) throws(ConntrackError) -> Result {
        var length: Int
        repeat {
            length = mnl_socket_recvfrom(socket, buffer.baseAddress, buffer.count)
        } while length < 0 && errno == EINTR
        guard length >= 0 else { throw ConntrackError(operation: operation, errno: errno) }
        return try body(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
    }
}
