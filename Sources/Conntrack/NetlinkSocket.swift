// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc

/// A netlink socket to the kernel's netfilter subsystem (netlink(7), `NETLINK_NETFILTER`).
///
/// The socket is connected to the kernel, so a message that another process sends to it is rejected (ECONNREFUSED for
/// the sender). This keeps out stray messages only: the sender needs CAP_NET_ADMIN, with which it could change the
/// table itself. Multicast events from such processes are not rejected.
struct NetlinkSocket: ~Copyable {
    /// The maximum time that the kernel may take for the next message of a response, in seconds.
    static let receiveTimeoutSeconds = 30

    private let socket: OpaquePointer

    /// The socket's descriptor.
    var descriptor: CInt { mnl_socket_get_fd(socket) }

    /// Opens and binds a socket; the kernel chooses its port.
    ///
    /// - Parameters:
    ///   - groups: The multicast groups to join, one bit each (`NF_NETLINK_CONNTRACK_…`).
    ///   - receiveTimeout: The maximum time that a receive waits.
    init(groups: CUnsignedInt = 0, receiveTimeout: timeval = timeval(tv_sec: receiveTimeoutSeconds, tv_usec: 0))
        throws(ConntrackError)
    {
        socket = try Self.open(groups: groups, receiveTimeout: receiveTimeout)
    }

    /// Adopts a socket that another process has opened, bound and connected, by duplicating its descriptor.
    init(adopting descriptor: CInt) throws(ConntrackError) {
        let duplicate = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0, let socket = mnl_socket_fdopen(duplicate) else {
            let error = ConntrackError(operation: "taking over a netfilter netlink socket", errno: errno)
            if duplicate >= 0 { close(duplicate) }
            throw error
        }
        self.socket = socket
    }

    private static func open(groups: CUnsignedInt, receiveTimeout: timeval) throws(ConntrackError) -> OpaquePointer {
        guard let socket = mnl_socket_open2(NETLINK_NETFILTER, CInt(SOCK_CLOEXEC.rawValue)) else {
            throw ConntrackError(operation: "opening a netfilter netlink socket", errno: errno)
        }
        var timeout = receiveTimeout
        let timeoutLength = socklen_t(MemoryLayout<timeval>.size)
        // MNL_SOCKET_AUTOPID is 0.
        guard mnl_socket_bind(socket, groups, 0) == 0, connectToKernel(mnl_socket_get_fd(socket)) == 0,
            setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, timeoutLength) == 0
        else {
            let error = ConntrackError(operation: "binding a netfilter netlink socket", errno: errno)
            mnl_socket_close(socket)
            throw error
        }
        return socket
    }

    private static func connectToKernel(_ descriptor: CInt) -> CInt {
        let kernel = sockaddr_nl(nl_family: sa_family_t(AF_NETLINK), nl_pad: 0, nl_pid: 0, nl_groups: 0)
        return withUnsafeBytes(of: kernel) {
            connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }

    deinit { mnl_socket_close(socket) }

    /// Requests a receive buffer of this size. The size is forced if that is permitted (`SO_RCVBUFFORCE` needs
    /// CAP_NET_ADMIN in the initial user namespace), and limited by `net.core.rmem_max` otherwise (socket(7)).
    ///
    /// - Returns: The receive buffer's actual size in bytes, as the kernel counts it.
    func setReceiveBuffer(bytes: Int) -> Int {
        // The kernel doubles the given size, for its own bookkeeping.
        var half = CInt(clamping: bytes / 2)
        let length = socklen_t(MemoryLayout<CInt>.size)
        if setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &half, length) != 0 {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &half, length)
        }
        return receiveBuffer
    }

    /// The receive buffer's size in bytes, as the kernel counts it.
    var receiveBuffer: Int {
        var bytes: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, &length)
        return Int(bytes)
    }

    /// The number of datagrams that the kernel has dropped because they did not fit the receive buffer; it wraps at
    /// 2^32 (`SK_MEMINFO_DROPS`, include/uapi/linux/sock_diag.h).
    var drops: UInt32 {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: Int(SK_MEMINFO_VARS)) { values in
            values.initialize(repeating: 0)
            var length = socklen_t(values.count * MemoryLayout<UInt32>.size)
            getsockopt(descriptor, SOL_SOCKET, SO_MEMINFO, values.baseAddress, &length)
            return values[Int(SK_MEMINFO_DROPS)]
        }
    }

    /// Sends one request, or several in succession.
    func send(_ requests: UnsafeRawBufferPointer, operation: String) throws(ConntrackError) {
        guard mnl_socket_sendto(socket, requests.baseAddress, requests.count) >= 0 else {
            throw ConntrackError(operation: operation, errno: errno)
        }
    }

    /// Receives the next datagram, which is valid in `buffer` until the next call.
    ///
    /// If none has arrived, waits for it if `wait` is true, and otherwise throws
    /// ``ConntrackError/timeout(operation:)``.
    func receive(
        into buffer: UnsafeMutableRawBufferPointer, wait: Bool = true, operation: String
    ) throws(ConntrackError) -> UnsafeRawBufferPointer {
        // MSG_TRUNC returns the datagram's real length even if it did not fit.
        let flags = CInt(truncatingIfNeeded: MSG_TRUNC) | (wait ? 0 : CInt(truncatingIfNeeded: MSG_DONTWAIT))
        var length: Int
        repeat {
            length = recv(descriptor, buffer.baseAddress, buffer.count, flags)
        } while length < 0 && errno == EINTR
        guard length >= 0 else { throw ConntrackError(operation: operation, errno: errno) }
        guard length <= buffer.count else {
            throw .malformedMessage("a datagram of \(length) bytes exceeds the limit of \(buffer.count)")
        }
        return UnsafeRawBufferPointer(rebasing: buffer[..<length])
    }

    /// Receives the datagrams that have arrived, up to the number of slots; waits for the first one if `wait` is true.
    ///
    /// - Returns: The number of datagrams; 0 if there were none.
    func receive(
        into slots: inout DatagramSlots, wait: Bool, operation: String
    ) throws(ConntrackError) -> Int {
        let received = slots.receive(from: descriptor, wait: wait)
        guard received < 0 else { return received }
        guard errno == EAGAIN || errno == EINTR else { throw ConntrackError(operation: operation, errno: errno) }
        return 0
    }
}
