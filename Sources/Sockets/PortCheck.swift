// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import NIOPosix

/// Checks whether a port can be listened on, for a daemon that starts listening later.
public enum PortCheck {
    /// Binds the port on all of the host's addresses and releases it again; throws if that fails. The socket does not
    /// listen, so no peer can connect to it.
    public static func check(_ port: Int) throws {
        do {
            try bind(SocketAddress(ipAddress: "::", port: port))
        } catch let error as IOError where ServerBootstrap.withoutIPv6.contains(error.errnoCode) {
            try bind(SocketAddress(ipAddress: "0.0.0.0", port: port))
        }
    }

    private static func bind(_ address: SocketAddress) throws {
        let family = address.protocol == .inet6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "socket") }
        defer { close(descriptor) }
        var (yes, no): (Int32, Int32) = (1, 0)
        let length = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, length)
        if family == AF_INET6 { setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &no, length) }
        try address.withSockAddr { pointer, size in
            guard Glibc.bind(descriptor, pointer, socklen_t(size)) == 0 else {
                throw IOError(errnoCode: errno, reason: "bind(\(address))")
            }
        }
    }
}
