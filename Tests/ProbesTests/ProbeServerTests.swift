// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Foundation
import FoundationNetworking
import Glibc
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import Probes
@testable import Sockets
@testable import TextFormats

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Runs a probe server during `body`, which gets its port, then stops it gracefully.
func withProbeServer(
    _ pages: ProbeServer.Pages, on address: IPAddress? = nil, limits: ProbeLimits = ProbeLimits(),
    _ body: (Int) async throws -> Void
) async throws {
    let port = try freePort()
    let server = try await ProbeServer.listen(on: address, port: port, limits: limits, logger: quiet, pages: pages)
    let group = ServiceGroup(
        configuration: ServiceGroupConfiguration(services: [server], logger: quiet))
    let running = Task { try await group.run() }
    try await body(port)
    await group.triggerGracefulShutdown()
    try await running.value
    #expect((try? await answer(port, "/live")) == nil)
}

/// Adds addresses to the host that are not loopback addresses.
private func addAddresses() async throws {
    // IPv6 first: tests run in parallel on this host, and which families a name is resolved to depends on the host's
    // addresses.
    for address in ["2001:db8::77/128 dev lo nodad", "192.0.2.77/32 dev lo", "192.0.2.78/32 dev lo"] {
        try await ChildProcess.shell("ip address add \(address) || true")
    }
}

/// Returns the response for a path.
func answer(_ port: Int, _ path: String, method: String = "GET", accept: String = "*/*") async throws -> (
    status: Int, type: String, body: String
) {
    guard let url = URL(string: "http://127.0.0.1:\(port)\(path)") else {
        throw TestEnvironmentError("'\(path)' is not a path of a URL")
    }
    var request = URLRequest(url: url)
    request.httpMethod = method
    request.setValue(accept, forHTTPHeaderField: "Accept")
    let (data, response) = try await URLSession(configuration: .ephemeral).data(for: request)
    let http = try #require(response as? HTTPURLResponse)
    return (
        http.statusCode, http.value(forHTTPHeaderField: "Content-Type") ?? "", String(decoding: data, as: UTF8.self)
    )
}

@Suite struct ProbeServerTests {
    @Test("/ready follows its checks") func readinessFollowsItsChecks() async throws {
        let problem = Mutex<String?>("no \"server\" is connected")
        let pages = ProbeServer.Pages(
            ready: { [HealthCheck("disk", problem: nil), HealthCheck("server", problem: problem.withLock { $0 })] },
            metrics: { MetricsPage() })
        try await withProbeServer(pages) { port in
            let unready = try await answer(port, "/ready")
            #expect(unready.status == 503)
            #expect(unready.type == "application/json")
            let object = try JSONSerialization.jsonObject(with: Data(unready.body.utf8)) as? [String: Any]
            #expect(object?["status"] as? String == "not ready")
            #expect(object?["checks"] as? [String: String] == ["disk": "ok", "server": "no \"server\" is connected"])
            let live = try await answer(port, "/live")
            #expect(live.status == 200)
            #expect(live.body == "{\"status\":\"live\",\"checks\":{}}\n")

            problem.withLock { $0 = nil }
            let ready = try await answer(port, "/ready?verbose")
            #expect(ready.status == 200)
            #expect(ready.body.contains("\"status\":\"ready\""))
        }
    }

    @Test("/live responds 503 with the problem") func aLivenessProblemIsTold() async throws {
        let pages = ProbeServer.Pages(
            live: { [HealthCheck("loop", problem: "stands still")] }, ready: { [] }, metrics: { MetricsPage() })
        try await withProbeServer(pages) { port in
            let live = try await answer(port, "/live")
            #expect(live.status == 503)
            #expect(live.body == "{\"status\":\"not live\",\"checks\":{\"loop\":\"stands still\"}}\n")
        }
    }

    @Test("/metrics is rendered once a second for each format")
    func metricsAreReused() async throws {
        let count = Mutex(0)
        let pages = ProbeServer.Pages(
            ready: { [] },
            metrics: {
                var page = MetricsPage()
                page.add(
                    .counter, "requests_total", "Requests.",
                    count.withLock {
                        $0 += 1
                        return $0
                    })
                return page
            })
        var limits = ProbeLimits()
        limits.pageLifetime = .hours(1)
        try await withProbeServer(pages, limits: limits) { port in
            for _ in 1...3 {
                let metrics = try await answer(port, "/metrics")
                #expect(metrics.status == 200)
                #expect(metrics.type == "text/plain; version=0.0.4; charset=utf-8")
                #expect(metrics.body.contains("\nrequests_total 1\n"))
                let open = try await answer(port, "/metrics", accept: "application/openmetrics-text")
                #expect(open.body.contains("\nrequests_total 2\n") && open.body.hasSuffix("# EOF\n"))
            }
        }
        limits.pageLifetime = .milliseconds(50)
        try await withProbeServer(pages, limits: limits) { port in
            let first = try await answer(port, "/metrics").body
            try await eventually("the page is rendered again") { try await answer(port, "/metrics").body != first }
        }
    }

    @Test("/metrics is in OpenMetrics if the request accepts it")
    func openMetricsAreToldToThoseWhoAskForThem() async throws {
        let pages = ProbeServer.Pages(ready: { [] }, metrics: { MetricsPage() })
        try await withProbeServer(pages) { port in
            let metrics = try await answer(
                port, "/metrics", accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
            #expect(metrics.type == "application/openmetrics-text; version=1.0.0; charset=utf-8")
            #expect(metrics.body.contains("# TYPE process_cpu_seconds counter\n"))
            #expect(metrics.body.hasSuffix("\n# EOF\n"))
        }
    }

    @Test(
        "other paths and methods are rejected",
        arguments: [
            ("GET", "/", 404), ("GET", "/metrics/", 404), ("GET", "/live/x", 404), ("GET", "//live", 404),
            ("POST", "/live", 405),
            ("DELETE", "/metrics", 405), ("PUT", "/nothing", 405), ("HEAD", "/metrics", 200), ("HEAD", "/nothing", 404),
        ])
    func otherRequestsAreRefused(method: String, path: String, status: Int) async throws {
        let pages = ProbeServer.Pages(ready: { [] }, metrics: { MetricsPage() })
        try await withProbeServer(pages) { port in
            let refused = try await answer(port, path, method: method)
            #expect(refused.status == status)
            #expect(refused.body.isEmpty == (method == "HEAD"))
        }
    }

    @Test("local pages are served only to requests from the host itself")
    func someTellWhatOnlyTheHostItselfMayKnow() async throws {
        let pages = ProbeServer.Pages(
            ready: { [] }, metrics: { MetricsPage() },
            local: ["/secret": { $0.isEmpty ? .badQuery("what?") : .text("of \($0)") }])
        try await withProbeServer(pages) { port in
            let told = try await answer(port, "/secret?a=b&c=%20")
            #expect(told.status == 200 && told.body == "of a=b&c=%20")
            let refused = try await answer(port, "/secret")
            #expect(refused.status == 400 && refused.body == "what?\n")
            // A connection to another address of the host also comes from that address.
            try await addAddresses()
            let elsewhere = try await ChildProcess.shell(
                "curl -s -o /dev/null -w '%{http_code}' http://192.0.2.77:\(port)/secret?a=b")
            #expect(elsewhere == "403")
            for (address, status) in [("::1", "200"), ("2001:db8::77", "403")] {
                let overIPv6 = try await ChildProcess.shell(
                    "curl -s -o /dev/null -w '%{http_code}' 'http://[\(address)]:\(port)/secret?a=b'")
                #expect(overIPv6 == status)
            }
        }
    }

    @Test("HTML pages have security headers") func pagesForPeopleComeWithWhatKeepsBrowsersSafe() async throws {
        let page = HTMLPage(title: "status", body: "<p>\("<b>")</p>")
        let pages = ProbeServer.Pages(
            ready: { [] }, metrics: { MetricsPage() }, local: ["/near": { _ in .page(page) }], open: ["/": { page }])
        try await withProbeServer(pages) { port in
            var policies: Set<String> = []
            for path in ["/", "/?a=b", "/near"] {
                let url = try #require(URL(string: "http://127.0.0.1:\(port)\(path)"))
                let (data, response) = try await URLSession(configuration: .ephemeral).data(from: url)
                let http = try #require(response as? HTTPURLResponse)
                #expect(http.statusCode == 200)
                #expect(http.value(forHTTPHeaderField: "Content-Type") == "text/html; charset=utf-8")
                #expect(http.value(forHTTPHeaderField: "X-Content-Type-Options") == "nosniff")
                let policy = try #require(http.value(forHTTPHeaderField: "Content-Security-Policy"))
                let nonce = try #require(policy.split(separator: "'").first { $0.hasPrefix("nonce-") }).dropFirst(6)
                let body = String(decoding: data, as: UTF8.self)
                #expect(body.contains("<p>&lt;b&gt;</p>") && body.contains("<style nonce=\"\(nonce)\">"))
                policies.insert(policy)
            }
            #expect(policies.count == 3)
            try await addAddresses()
            for (path, status) in [("/", "200"), ("/near", "403")] {
                let elsewhere = try await ChildProcess.shell(
                    "curl -s -o /dev/null -w '%{http_code}' http://192.0.2.77:\(port)\(path)")
                #expect(elsewhere == status)
            }
        }
    }

    @Test("bytes that are not HTTP close only their own connection")
    func whatIsNotHTTPCostsItsConnectionOnly() async throws {
        let pages = ProbeServer.Pages(ready: { [] }, metrics: { MetricsPage() })
        try await withProbeServer(pages) { port in
            for bytes in ["no HTTP\r\n\r\n", "GET /live HTTP/1.1\r\nContent-Length: x\r\n\r\n", ""] {
                _ = try await ChildProcess.shell(
                    "printf '%b' '\(bytes)' | socat -t1 - TCP:127.0.0.1:\(port) >/dev/null")
            }
            #expect(try await answer(port, "/live").status == 200)
        }
    }

    @Test("a port in use is named in the error") func aPortThatIsTakenIsNamed() async throws {
        let pages = ProbeServer.Pages(ready: { [] }, metrics: { MetricsPage() })
        try await withProbeServer(pages) { port in
            let error = await #expect(throws: ListenError.self) {
                _ = try await ProbeServer.listen(port: port, logger: quiet, pages: pages)
            }
            #expect(error?.description.hasPrefix("cannot listen on port \(port) for metrics and probes: ") == true)
        }
    }

    @Test("with an address, the server listens on it and on 127.0.0.1 only")
    func oneAddress() async throws {
        try NetworkNamespace.requireSandbox()
        try await addAddresses()
        let pages = ProbeServer.Pages(ready: { [] }, metrics: { MetricsPage() })
        try await withProbeServer(pages, on: IPAddress("192.0.2.77")) { port in
            for (address, isAnswered) in [
                ("192.0.2.77", true), ("127.0.0.1", true), ("192.0.2.78", false), ("[::1]", false),
            ] {
                let result = try await ChildProcess.shell(
                    "curl -s -o /dev/null -w '%{http_code}' 'http://\(address):\(port)/live' || true")
                #expect((result == "200") == isAnswered, "\(address)")
            }
        }
    }

    @Test("an address that the host does not have is named in the error")
    func foreignAddress() async throws {
        let error = await #expect(throws: ListenError.self) {
            _ = try await ProbeServer.listen(
                on: IPAddress("203.0.113.99"), port: 1234, logger: quiet,
                pages: ProbeServer.Pages(ready: { [] }, metrics: { MetricsPage() }))
        }
        #expect(
            error?.description.hasPrefix(
                "cannot listen on port 1234 of 203.0.113.99 for metrics and probes: bind(") == true)
    }

    @Test(
        "pages are served only under host names that an attacker cannot own",
        arguments: [
            ("127.0.0.1", true), ("127.0.0.1:8883", true), ("[::1]:8883", true), ("[2001:db8::1]", true),
            ("localhost:8883", true), ("LOCALHOST", true), ("node-a:8883", true),
            ("kubenetmon-server.kubenetmon-server.svc:8883", true), ("a.b.svc.cluster.local", true),
            ("ip-10-0-0-1.ec2.internal", true), ("evil.example:8883", false), ("evil.example.", false),
            ("127.0.0.1.evil.example", false), ("localhost.evil.example:80", false), ("svc.evil.example", false),
            ("evil.example:127.0.0.1", false), ("", false), ("[", false), ("[evil.example]", false), ("a b", false),
            ("évil", false), (":8883", false), ("localhost@evil.example", false),
        ])
    func hostNames(host: String, isTrusted: Bool) throws {
        #expect(RequestHost.isTrusted(host) == isTrusted)
    }

    @Test("a name rebound to 127.0.0.1 gets probes and metrics, and no page")
    func rebinding() async throws {
        let page = HTMLPage(title: "status", body: "")
        let pages = ProbeServer.Pages(
            ready: { [] }, metrics: { MetricsPage() }, local: ["/near": { _ in .page(page) }], open: ["/": { page }])
        try await withProbeServer(pages) { port in
            let expected = ["/": "421", "/near": "421", "/live": "200", "/ready": "200", "/metrics": "200"]
            for (path, status) in expected {
                let connection = try RawConnection(port)
                connection.send("GET \(path) HTTP/1.1\r\nHost: evil.example:\(port)\r\nConnection: close\r\n\r\n")
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 \(status) "), "\(path)")
                #expect(try await answer(port, path).status == 200)
            }
        }
    }
}
