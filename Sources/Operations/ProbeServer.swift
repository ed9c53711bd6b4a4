// SPDX-License-Identifier: Apache-2.0

import Listening
public import Logging
public import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle

/// Answers `/live`, `/ready` and `/metrics` over HTTP, and the pages that a daemon adds.
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
        /// Pages for everybody, by their paths.
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
                .bindToEveryAddress(port: port)
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
        let answer = answer(to: request, from: context.remoteAddress?.unmapped)
        let body = ByteBuffer(string: answer.text)
        var head = HTTPResponseHead(version: request.version, status: answer.status)
        head.headers.add(name: "Content-Type", value: answer.type)
        for (name, value) in answer.headers { head.headers.add(name: name, value: value) }
        head.headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    private struct Answer {
        var status = HTTPResponseStatus.ok
        var type = "text/plain; charset=utf-8"
        var text: String
        var headers: [(name: String, value: String)] = []

        init(_ status: HTTPResponseStatus, _ text: String) {
            self.status = status
            self.text = text
        }

        init(_ page: HTMLPage) {
            let nonce = HTMLPage.makeNonce()
            type = "text/html; charset=utf-8"
            text = page.text(nonce: nonce)
            headers = HTMLPage.headers(nonce: nonce)
        }

        init(_ checks: [HealthCheck], met: String, unmet: String) {
            status = checks.areMet ? .ok : .serviceUnavailable
            type = "application/json"
            text = checks.json(met: met, unmet: unmet)
        }

        init(_ metrics: MetricsPage, as format: MetricsFormat) {
            var metrics = metrics
            metrics.add(ProcessStatistics())
            type = format.contentType
            text = metrics.text(as: format)
        }
    }

    private func answer(to request: HTTPRequestHead, from peer: SocketAddress?) -> Answer {
        guard request.method == .GET || request.method == .HEAD else {
            return Answer(.methodNotAllowed, "only GET and HEAD are answered\n")
        }
        let path = request.uri.prefix { $0 != "?" }
        if let local = pages.local[String(path)] {
            guard peer?.isLoopback == true else { return Answer(.forbidden, "answered to this host alone\n") }
            switch local(String(request.uri.dropFirst(path.count + 1))) {
            case .text(let text): return Answer(.ok, text)
            case .page(let page): return Answer(page)
            case .badQuery(let problem): return Answer(.badRequest, problem + "\n")
            }
        }
        if let open = pages.open[String(path)] { return Answer(open()) }
        switch path {
        case "/live": return Answer(pages.live(), met: "live", unmet: "not live")
        case "/ready": return Answer(pages.ready(), met: "ready", unmet: "not ready")
        case "/metrics":
            let accept = request.headers["Accept"].joined(separator: ",")
            return Answer(pages.metrics(), as: MetricsFormat(accept: accept))
        default: return Answer(.notFound, "there are /metrics, /live and /ready\n")
        }
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
