// SPDX-License-Identifier: Apache-2.0

public import Logging
public import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle

/// Answers `/live`, `/ready` and `/metrics` over HTTP.
public struct ProbeServer: Service {
    /// What the answers are made of, asked anew for every request. Called on an event loop: must not block.
    public struct Pages: Sendable {
        /// Whether the process is worth keeping.
        public var live: @Sendable () -> [HealthCheck]
        /// Whether the process can do its work.
        public var ready: @Sendable () -> [HealthCheck]
        /// The page of metrics; those of the process itself need not be on it.
        public var metrics: @Sendable () -> MetricsPage
        /// Pages for the host itself, by their paths: what they tell is nobody else's business.
        public var local: [String: @Sendable (_ query: String) -> LocalAnswer]

        /// Makes pages of their sources.
        public init(
            live: @escaping @Sendable () -> [HealthCheck] = { [] },
            ready: @escaping @Sendable () -> [HealthCheck],
            metrics: @escaping @Sendable () -> MetricsPage,
            local: [String: @Sendable (_ query: String) -> LocalAnswer] = [:]
        ) {
            self.live = live
            self.ready = ready
            self.metrics = metrics
            self.local = local
        }
    }

    /// What a page for the host itself says.
    public enum LocalAnswer: Sendable {
        /// The text that was asked for.
        case text(String)
        /// What is wrong with the query.
        case badQuery(String)
    }

    private let port: Int
    private let group: any EventLoopGroup
    private let logger: Logger
    private let pages: Pages

    /// Makes a server that listens on all of the host's addresses once it runs.
    public init(port: Int, group: any EventLoopGroup, logger: Logger, pages: Pages) {
        self.port = port
        self.group = group
        self.logger = logger
        self.pages = pages
    }

    /// Listens until the daemon shuts down. Throws where the port cannot be had.
    public func run() async throws {
        let pages = pages
        let channel: any Channel
        do {
            channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                        try channel.pipeline.syncOperations.addHandler(ProbeHandler(pages: pages))
                    }
                }
                .bind(host: "0.0.0.0", port: port)
                .get()
        } catch {
            throw ListenError(purpose: "metrics and probes", port: port, cause: error)
        }
        logger.info("serving /metrics, /live and /ready", metadata: ["port": "\(port)"])
        try await withGracefulShutdownHandler {
            try await channel.closeFuture.get()
        } onGracefulShutdown: {
            channel.close(promise: nil)
        }
    }
}

/// A port that cannot be listened on.
public struct ListenError: Error, CustomStringConvertible {
    private let purpose: String
    private let port: Int
    private let cause: any Error

    /// Makes an error of what the port was for and what happened.
    public init(purpose: String, port: Int, cause: any Error) {
        self.purpose = purpose
        self.port = port
        self.cause = cause
    }

    /// What was attempted and what happened.
    public var description: String { "cannot listen on port \(port) for \(purpose): \(cause)" }
}

/// Answers one connection's requests.
private final class ProbeHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let pages: ProbeServer.Pages
    private var request: HTTPRequestHead?

    init(pages: ProbeServer.Pages) { self.pages = pages }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): request = head
        case .body: break
        case .end:
            guard let request else { return }
            self.request = nil
            answer(request, context)
        }
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let (status, type, text) = page(request, from: context.remoteAddress)
        let body = ByteBuffer(string: text)
        var head = HTTPResponseHead(version: request.version, status: status)
        head.headers.add(name: "Content-Type", value: type)
        head.headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    private func page(
        _ request: HTTPRequestHead, from peer: SocketAddress?
    ) -> (HTTPResponseStatus, type: String, String) {
        guard request.method == .GET || request.method == .HEAD else {
            return (.methodNotAllowed, "text/plain", "only GET and HEAD are answered\n")
        }
        let path = request.uri.prefix { $0 != "?" }
        if let local = pages.local[String(path)] {
            guard peer?.isLoopback == true else {
                return (.forbidden, "text/plain", "answered to this host alone\n")
            }
            switch local(String(request.uri.dropFirst(path.count + 1))) {
            case .text(let text): return (.ok, "text/plain; charset=utf-8", text)
            case .badQuery(let problem): return (.badRequest, "text/plain; charset=utf-8", problem + "\n")
            }
        }
        switch path {
        case "/live": return health(pages.live(), met: "live", unmet: "not live")
        case "/ready": return health(pages.ready(), met: "ready", unmet: "not ready")
        case "/metrics": return metrics(MetricsFormat(accept: request.headers["Accept"].joined(separator: ",")))
        default: return (.notFound, "text/plain", "there are /metrics, /live and /ready\n")
        }
    }

    private func metrics(_ format: MetricsFormat) -> (HTTPResponseStatus, type: String, String) {
        var page = pages.metrics()
        page.add(ProcessStatistics())
        return (.ok, format.contentType, page.text(as: format))
    }

    private func health(
        _ checks: [HealthCheck], met: String, unmet: String
    ) -> (HTTPResponseStatus, type: String, String) {
        (checks.areMet ? .ok : .serviceUnavailable, "application/json", checks.json(met: met, unmet: unmet))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

extension SocketAddress {
    /// Whether it is an address that never leaves the host.
    fileprivate var isLoopback: Bool {
        // Not all of 127/8: what stands in front of a pod comes from other addresses there.
        ipAddress == "127.0.0.1" || ipAddress == "::1"
    }
}
