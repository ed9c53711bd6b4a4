// SPDX-License-Identifier: Apache-2.0

import Glibc
import HTTPClient
import TestSupport
import Testing

@Suite struct ProxyTests {
    /// The environment belongs to the whole process, so a separate process changes it.
    @Test("the environment's proxy is used only with the setting environment")
    func theEnvironmentsProxyIsHeededWhereItIsAskedForAlone() async {
        await #expect(processExitsWith: .success) {
            let server = try RawHTTPServer { _, _ in .status(200, "server") }
            let proxy = try RawHTTPServer { _, _ in .status(200, "proxy") }
            setenv("http_proxy", proxy.url, 1)
            unsetenv("no_proxy")
            unsetenv("NO_PROXY")
            let url = server.url
            for (setting, answer) in [(HTTPClient.Proxy.none, "server"), (.environment, "proxy")] {
                let text = try await onThread {
                    try HTTPClient(proxy: setting).perform(
                        HTTPRequest(.get, url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000)
                    ).text
                }
                #expect(text == answer)
            }
            #expect(proxy.requests.first?.target == "\(url)/")
        }
    }

    @Test("a proxy's URL is used for every server, whatever the environment says")
    func url() async {
        await #expect(processExitsWith: .success) {
            let server = try RawHTTPServer { _, _ in .status(200, "server") }
            let (proxy, other) = (
                try RawHTTPServer { _, _ in .status(200, "proxy") }, try RawHTTPServer { _, _ in .status(200, "other") }
            )
            setenv("http_proxy", other.url, 1)
            setenv("no_proxy", "*", 1)
            let (url, proxyURL) = (server.url, proxy.url)
            let text = try await onThread {
                try HTTPClient(proxy: .url(proxyURL)).perform(
                    HTTPRequest(.get, url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000)
                ).text
            }
            #expect(text == "proxy" && proxy.requests.first?.target == "\(url)/")
            #expect(server.requests.isEmpty && other.requests.isEmpty)
        }
    }

    @Test("TLS through a proxy is end to end") func connect() async throws {
        let certificates = try await TestCertificates()
        let plain = try RawHTTPServer { _, _ in .status(200) }
        let server = try await TLSTerminator(before: plain.url, certificates)
        let proxy = try ConnectProxy()
        let (url, proxyURL, authority) = (
            "https://127.0.0.1:\(server.port)/", proxy.url, certificates.path("authority.pem")
        )
        let status = try await onThread {
            try HTTPClient(tls: .init(authorities: .file(authority)), proxy: .url(proxyURL)).perform(
                HTTPRequest(.get, url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000)
            ).status
        }
        #expect(status == 200)
        #expect(proxy.targets == ["127.0.0.1:\(server.port)"])
    }

    @Test(
        "the setting accepts none, environment and a proxy's URL",
        arguments: [
            ("none", HTTPClient.Proxy.none), ("environment", .environment), ("http://p:3128", .url("http://p:3128")),
            ("https://u:p@p", .url("https://u:p@p")), ("", nil), ("http://", nil), ("p:3128", nil), ("ftp://p", nil),
        ] as [(String, HTTPClient.Proxy?)])
    func setting(text: String, proxy: HTTPClient.Proxy?) {
        #expect(HTTPClient.Proxy(text) == proxy)
        if let proxy { #expect(proxy.description == text) }
    }

    @Test(
        "the environment variables of a proxy are those of libcurl",
        arguments: [
            ("https://c:8443", ["HTTPS_PROXY": "p"], "HTTPS_PROXY"),
            ("https://c:8443", ["https_proxy": "p"], "https_proxy"),
            ("https://c:8443", ["http_proxy": "p"], nil), ("https://c:8443", ["HTTPS_PROXY": ""], nil),
            ("http://c:8123", ["http_proxy": "p", "ALL_PROXY": "q"], "http_proxy"),
            ("http://c:8123", ["HTTP_PROXY": "p"], nil), ("http://c:8123", ["ALL_PROXY": "p"], "ALL_PROXY"),
            ("http://c:8123", [:], nil),
        ] as [(String, [String: String], String?)])
    func variables(url: String, environment: [String: String], name: String?) {
        #expect(HTTPClient.Proxy.variable(for: url, in: environment) == name)
    }

    @Test("an error tells whether the whole request was sent") func wasSent() async throws {
        let dead = try RawHTTPServer.closedURL()
        let (hangingUp, strict) = (
            try RawHTTPServer { _, _ in .hangUp }, try RawHTTPServer(maximumBodyBytes: 1) { _, _ in .hangUp }
        )
        // More than the socket buffers of both sides hold.
        let large = 64 << 20
        for (url, bytes, wasSent) in [
            (dead, 1, false), ("http://name.invalid", 1, false), (hangingUp.url, 1, true), (hangingUp.url, large, true),
            (strict.url, large, false),
        ] {
            let body = [UInt8](repeating: 1, count: bytes)
            let error = try await onThread {
                do throws(HTTPError) {
                    _ = try HTTPClient().perform(
                        HTTPRequest(
                            .post(body), url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000))
                    return HTTPError?.none
                } catch { return error }
            }
            #expect(error?.wasSent == wasSent, "\(url) \(bytes)")
        }
    }
}
