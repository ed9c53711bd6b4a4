// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle
import Sockets
public import TextFormats

/// Serves `/live`, `/ready` and `/metrics` over HTTP, and the pages that a daemon adds.
///
/// The port is open to a whole network. The server has an event loop of its own, so that it and the rest of the process
/// never wait for each other, and ``ProbeLimits`` bounds what its peers can take.
public final class ProbeServer: Service, CustomStringConvertible {
    /// Sources of the responses. Called on the server's event loop: must not block.
    public struct Pages: Sendable {
        /// Conditions without which the process should be restarted.
        public var live: @Sendable () -> [HealthCheck]
        /// Conditions without which the process cannot do its work.
        public var ready: @Sendable () -> [HealthCheck]
        /// The page of metrics, without those of the process itself; made at most once a second.
        public var metrics: @Sendable () -> MetricsPage
        /// Pages by path that are served to this host only, because their content is confidential.
        public var local: [String: @Sendable (_ query: String) -> LocalAnswer]
        /// Pages by path that are served to every peer; made at most once a second.
        public var open: [String: @Sendable () -> HTMLPage]

        /// Makes pages from their sources.
        public init(
            live: @escaping @Sendable () -> [HealthCheck] = { [] },
            ready: @escaping @Sendable () -> [HealthCheck],
            metrics: @escaping @Sendable () -> MetricsPage,
            local: [String: @Sendable (_ query: String) -> LocalAnswer] = [:],
            open: [String: @Sendable () -> HTMLPage] = [:]
        ) {
            self.live = live
            self.ready = ready
            self.metrics = metrics
            self.local = local
            self.open = open
        }
    }

    /// The content of a page that is served to this host only.
    public enum LocalAnswer: Sendable {
        /// Plain text.
        case text(String)
        /// A page for a browser.
        case page(HTMLPage)
        /// The reason why the query is invalid.
        case badQuery(String)
    }

    /// The service's name in the log.
    public let description = "probes"

    private let group: MultiThreadedEventLoopGroup
    private let listeners: [any Channel]

    private init(_ listeners: [any Channel], on group: MultiThreadedEventLoopGroup) {
        self.listeners = listeners
        self.group = group
    }

    /// Binds the port; requests are served once the service runs. Throws ``ListenError`` if the port cannot be bound.
    ///
    /// - Parameters:
    ///   - address: The address to listen on besides 127.0.0.1, which `kubectl port-forward` and `kubectl exec` connect
    ///     to; nil for all of the host's addresses.
    ///   - port: The port.
    ///   - logger: Logs the address, and connections that cannot be accepted.
    ///   - pages: Sources of the responses.
    public static func listen(
        on address: IPAddress? = nil, port: Int, logger: Logger, pages: Pages
    ) async throws -> ProbeServer {
        try await listen(on: address, port: port, limits: ProbeLimits(), logger: logger, pages: pages)
    }

    static func listen(
        on address: IPAddress? = nil, port: Int, limits: ProbeLimits, logger: Logger, pages: Pages
    ) async throws -> ProbeServer {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let failures = AcceptFailures(purpose: "metrics and probes", logger: logger)
        let eventLoop = group.next()
        let connections = try await eventLoop.submit {
            let responder = ProbeResponder(pages, lifetime: limits.pageLifetime, acceptFailures: failures)
            return NIOLoopBound(ProbeConnections(limits, responder), eventLoop: eventLoop)
        }.get()
        var listeners: [any Channel] = []
        for address in addresses(for: address) {
            do {
                listeners.append(
                    try await bootstrap(on: group, limits, connections).listen(on: address, port: port, failures))
            } catch {
                try await group.shutdownGracefully()
                throw ListenError(purpose: "metrics and probes", address: address, port: port, cause: error)
            }
        }
        logger.info(
            "serving /metrics, /live and /ready",
            metadata: ["address": "\(address?.description ?? "all")", "port": "\(port)"])
        return ProbeServer(listeners, on: group)
    }

    private static func addresses(for address: IPAddress?) -> [IPAddress?] {
        guard let address, address.bits != 0 else { return [nil] }
        let loopback = IPAddress(v4: 0x7f00_0001)
        return address == loopback || address == IPAddress(v4: 0) ? [address] : [address, loopback]
    }

    private static func bootstrap(
        on group: MultiThreadedEventLoopGroup, _ limits: ProbeLimits, _ connections: NIOLoopBound<ProbeConnections>
    ) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.autoRead, value: false)
            // Accepts only a quarter of the 64 places at a time, so that a new connection's request is read before the
            // connection is among the oldest, which are evicted first.
            .serverChannelOption(.maxMessagesPerRead, value: 16)
            // Connections inherit both sizes. Kernel memory counts against the container's limit, and the send buffer
            // for a peer that does not read would otherwise grow to the 4 MiB of net.ipv4.tcp_wmem.
            .serverChannelOption(.socketOption(.so_rcvbuf), value: limits.receiveBufferBytes)
            .serverChannelOption(.socketOption(.so_sndbuf), value: limits.sendBufferBytes)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: limits.bytesPerRead)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try connections.value.open(channel) }
            }
    }

    /// Serves requests until the daemon shuts down.
    public func run() async throws {
        let (closed, close) = AsyncStream.makeStream(of: Void.self)
        for listener in listeners {
            listener.closeFuture.whenComplete { _ in close.finish() }
            // Only now: a running service is stopped by SIGTERM, and a process that responds as live must handle
            // SIGTERM.
            try? await listener.setOption(.autoRead, value: true).get()
        }
        await cancelWhenGracefulShutdown { for await _ in closed {} }
        try await group.shutdownGracefully()
    }
}
