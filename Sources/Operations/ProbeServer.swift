// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import Listening
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle

/// Answers `/live`, `/ready` and `/metrics` over HTTP, and the pages that a daemon adds.
///
/// The port is open to a whole network. The server has an event loop of its own, so that nothing else waits for it or keeps
/// it waiting, and its peers can take no more than ``ProbeLimits`` says.
public final class ProbeServer: Service, CustomStringConvertible {
    /// Sources of the answers. Called on the server's event loop: must not block.
    public struct Pages: Sendable {
        /// Whether the process is worth keeping.
        public var live: @Sendable () -> [HealthCheck]
        /// Whether the process can do its work.
        public var ready: @Sendable () -> [HealthCheck]
        /// The page of metrics, without those of the process; made at most once a second.
        public var metrics: @Sendable () -> MetricsPage
        /// Pages for the host itself, by their paths: what they tell is nobody else's business.
        public var local: [String: @Sendable (_ query: String) -> LocalAnswer]
        /// Pages for everybody, by their paths; made at most once a second.
        public var open: [String: @Sendable () -> HTMLPage]

        /// Makes pages of their sources.
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

    /// What a page for the host itself says.
    public enum LocalAnswer: Sendable {
        /// The text that was asked for.
        case text(String)
        /// A page for people.
        case page(HTMLPage)
        /// What is wrong with the query.
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

    /// Takes the port; what comes is answered when the service runs. Throws ``ListenError`` where the port cannot be had.
    ///
    /// - Parameters:
    ///   - address: The address to listen on besides 127.0.0.1, which `kubectl port-forward` and `kubectl exec` come to;
    ///     nil for all of the host's.
    ///   - port: The port.
    ///   - logger: For the address and for connections that cannot be accepted.
    ///   - pages: Sources of the answers.
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
            // A part of the places at a time, so that what a new connection asks for is read before it is one of the oldest.
            .serverChannelOption(.maxMessagesPerRead, value: 16)
            // Connections inherit both sizes. The kernel's memory counts against the container's limit, and what it holds for
            // a peer that does not read would otherwise grow to net.ipv4.tcp_wmem's 4 MiB.
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

    /// Answers until the daemon shuts down.
    public func run() async throws {
        let (closed, close) = AsyncStream.makeStream(of: Void.self)
        for listener in listeners {
            listener.closeFuture.whenComplete { _ in close.finish() }
            // Not before: SIGTERM is heard from now on, by a process that is told to be live.
            try? await listener.setOption(.autoRead, value: true).get()
        }
        await cancelWhenGracefulShutdown { for await _ in closed {} }
        try await group.shutdownGracefully()
    }
}
