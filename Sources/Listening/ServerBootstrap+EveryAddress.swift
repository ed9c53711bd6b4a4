// SPDX-License-Identifier: Apache-2.0

import Glibc
public import NIOCore
public import NIOPosix

extension ServerBootstrap {
    /// Listens on a port of all of the host's addresses: of IPv4 and IPv6, or of IPv4 alone where the kernel has no IPv6.
    ///
    /// Whoever comes over IPv4 may have an IPv4-mapped address (``NIOCore/SocketAddress/unmapped``).
    ///
    /// - Parameter port: The port; the kernel chooses one where it is 0.
    public func bindToEveryAddress(port: Int) -> EventLoopFuture<any Channel> {
        guard Self.kernelHasIPv6 else { return bind(host: "0.0.0.0", port: port) }
        // net.ipv6.bindv6only may say otherwise.
        let v6Only = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
        return serverChannelOption(v6Only, value: 0).bind(host: "::", port: port)
    }

    /// Whether there are sockets of IPv6 at all, addresses or not; `ipv6.disable=1` on the kernel's command line takes them.
    private static var kernelHasIPv6: Bool {
        let descriptor = socket(AF_INET6, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return errno != EAFNOSUPPORT }
        close(descriptor)
        return true
    }
}
