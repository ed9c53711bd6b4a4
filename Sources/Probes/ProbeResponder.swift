// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import Sockets
import TextFormats

/// The response to a request.
struct ProbeAnswer {
    var status = HTTPResponseStatus.ok
    var type = "text/plain; charset=utf-8"
    var body: ByteBuffer
    var headers: [(name: String, value: String)] = []

    init(_ status: HTTPResponseStatus, _ text: String) {
        self.status = status
        body = ByteBuffer(string: text)
    }

    init(_ checks: [HealthCheck], met: String, unmet: String) {
        status = checks.areMet ? .ok : .serviceUnavailable
        type = "application/json"
        body = ByteBuffer(string: checks.json(met: met, unmet: unmet))
    }

    init(_ page: HTMLPage) {
        let nonce = HTMLPage.makeNonce()
        type = "text/html; charset=utf-8"
        body = ByteBuffer(string: page.text(nonce: nonce))
        headers = HTMLPage.headers(nonce: nonce)
    }

    init(_ metrics: ByteBuffer, _ format: MetricsFormat) {
        type = format.contentType
        body = metrics
    }
}

/// Makes the responses for all connections, on their event loop.
final class ProbeResponder {
    /// The number of connections closed to make room for newer ones.
    var evictedConnections: UInt64 = 0

    private let pages: ProbeServer.Pages
    private let acceptFailures: AcceptFailures
    private var metrics: Renewed<MetricsFormat, ByteBuffer>
    private var open: Renewed<String, HTMLPage>

    init(_ pages: ProbeServer.Pages, lifetime: TimeAmount, acceptFailures: AcceptFailures) {
        self.pages = pages
        self.acceptFailures = acceptFailures
        metrics = Renewed(lifetime: lifetime)
        open = Renewed(lifetime: lifetime)
    }

    func answer(to request: HTTPRequestHead, from peer: SocketAddress?) -> ProbeAnswer {
        guard request.method == .GET || request.method == .HEAD else {
            return ProbeAnswer(.methodNotAllowed, "only GET and HEAD are supported\n")
        }
        let path = String(request.uri.prefix { $0 != "?" })
        switch path {
        case "/live": return ProbeAnswer(pages.live(), met: "live", unmet: "not live")
        case "/ready": return ProbeAnswer(pages.ready(), met: "ready", unmet: "not ready")
        case "/metrics":
            let format = MetricsFormat(accept: request.headers["Accept"].joined(separator: ","))
            return ProbeAnswer(metrics.value(for: format) { makeMetrics(format) }, format)
        default: break
        }
        let isPage = pages.local[path] != nil || pages.open[path] != nil
        guard !isPage || request.headers["Host"].allSatisfy(RequestHost.isTrusted) else {
            return ProbeAnswer(
                .misdirectedRequest, "the Host header must be an IP address, localhost or a name in the cluster\n")
        }
        if let local = pages.local[path] {
            guard peer?.isLoopback == true else {
                return ProbeAnswer(.forbidden, "only served to clients on this host\n")
            }
            switch local(String(request.uri.dropFirst(path.count + 1))) {
            case .text(let text): return ProbeAnswer(.ok, text)
            case .page(let page): return ProbeAnswer(page)
            case .badQuery(let problem): return ProbeAnswer(.badRequest, problem + "\n")
            }
        }
        if let page = pages.open[path] { return ProbeAnswer(open.value(for: path, page)) }
        return ProbeAnswer(.notFound, "not found; try /metrics, /live or /ready\n")
    }

    private func makeMetrics(_ format: MetricsFormat) -> ByteBuffer {
        var page = pages.metrics()
        page.add(
            .counter, "kubenetmon_probe_evicted_connections_total",
            "Connections to the metrics port that were closed to admit newer ones.", evictedConnections)
        page.add(
            .counter, "kubenetmon_probe_accept_failures_total",
            "Failed attempts to accept a connection to the metrics port, for lack of file descriptors or memory.",
            acceptFailures.count)
        page.add(ProcessStatistics())
        return ByteBuffer(string: page.text(as: format))
    }
}

/// Cached values, each made again once it is older than the lifetime.
private struct Renewed<Key: Hashable, Value> {
    private var values: [Key: (value: Value, made: NIODeadline)] = [:]
    private let lifetime: TimeAmount

    init(lifetime: TimeAmount) { self.lifetime = lifetime }

    mutating func value(for key: Key, _ make: () -> Value) -> Value {
        let now = NIODeadline.now()
        if let last = values[key], now - last.made < lifetime { return last.value }
        let value = make()
        values[key] = (value, now)
        return value
    }
}

extension SocketAddress {
    /// Whether the address is one that never leaves the host.
    fileprivate var isLoopback: Bool {
        // Not all of 127/8: a proxy in front of a pod connects from other addresses in it.
        ipAddress == "127.0.0.1" || ipAddress == "::1"
    }
}
