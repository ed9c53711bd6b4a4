// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import Glibc
public import NIOCore
public import NIOPosix

extension ServerBootstrap {
    /// Listens on a port of one of the host's addresses, or of all of them: of IPv4 and IPv6, or only of IPv4 if IPv6
    /// cannot be bound.
    ///
    /// A peer that connects over IPv4 may have an IPv4-mapped address (``NIOCore/SocketAddress/unmapped``).
    ///
    /// The address is bound directly. `bind(host:port:)` would call getaddrinfo(3) with AI_ADDRCONFIG, which does not
    /// resolve `::` if only the loopback interface has an IPv6 address, although `::` can be bound then.
    ///
    /// Sets the bootstrap's `serverChannelInitializer`.
    ///
    /// - Parameters:
    ///   - address: The address; nil for all.
    ///   - port: The port; 0 lets the kernel choose one.
    ///   - failures: Counts and logs connections that could not be accepted; accepting pauses after each.
    public func listen(
        on address: IPAddress? = nil, port: Int, _ failures: AcceptFailures
    ) async throws -> any Channel {
        let bootstrap = serverChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                // Overrides net.ipv6.bindv6only. An IPv4 socket rejects the option and does not need it.
                let v6Only = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
                try? channel.syncOptions?.setOption(v6Only, value: 0)
                try channel.pipeline.syncOperations.addHandler(AcceptErrorHandler(failures))
            }
        }
        if let address {
            let socketAddress = try SocketAddress(ipAddress: address.description, port: port)
            return try await bootstrap.bind(to: socketAddress).get()
        }
        do {
            return try await bootstrap.bind(to: SocketAddress(ipAddress: "::", port: port)).get()
        } catch let error as IOError where Self.withoutIPv6.contains(error.errnoCode) {
            return try await bootstrap.bind(to: SocketAddress(ipAddress: "0.0.0.0", port: port)).get()
        }
    }

    /// The errors of socket(2) and bind(2) without IPv6: `ipv6.disable=1` on the kernel's command line, or a sandbox
    /// that has no IPv6.
    static let withoutIPv6 = [EAFNOSUPPORT, EPROTONOSUPPORT, EADDRNOTAVAIL, EPERM, EACCES]
}

/// Records connections that could not be accepted, or would have taken the last descriptors, and pauses accepting.
///
/// NIO's `AcceptBackoffHandler` only delays the next read: the read that failed stays pending, the socket stays
/// registered with epoll(7), and a core spins in accept(2).
private final class AcceptErrorHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private let failures: AcceptFailures

    init(_ failures: AcceptFailures) { self.failures = failures }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard DescriptorReserve.isTouched else { return context.fireChannelRead(data) }
        unwrapInboundIn(data).close(promise: nil)
        failures.note(
            IOError(errnoCode: EMFILE, reason: "the last \(DescriptorReserve.count) file descriptors are reserved"))
        pause(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? IOError {
            failures.note(error)
            pause(context)
        }
        context.fireErrorCaught(error)
    }

    private func pause(_ context: ChannelHandlerContext) {
        let options = context.channel.syncOptions
        try? options?.setOption(.autoRead, value: false)
        context.eventLoop.assumeIsolated().scheduleTask(in: AcceptFailures.pause) {
            try? options?.setOption(.autoRead, value: true)
        }
    }
}
