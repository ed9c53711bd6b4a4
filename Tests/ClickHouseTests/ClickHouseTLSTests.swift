// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import TestSupport
import Testing

@testable import ClickHouse

@Suite struct ClickHouseTLSTests {
    @Test(
        "rows are inserted over mutual TLS, with every type of key that cert-manager issues",
        arguments: TestCertificates.Key.issued)
    func rows(_ key: TestCertificates.Key) async throws {
        let (certificates, others) = (try await TestCertificates(key), try await TestCertificates())
        let database = try await TestDatabase.make()
        let terminator = try await TLSTerminator(before: database.url, certificates, asksForClient: true)
        var configuration = ClickHouseClient.Configuration(database)
        configuration.endpoints = [terminator.url]
        configuration.tls = HTTPClient.TLS(
            authorities: .file(certificates.path("authority.pem")), certificate: .file(certificates.path("client.pem")),
            key: .file(certificates.path("client.key")))
        let test = try InserterUnderTest(configuration)
        for number in 0..<3 { test.submit(number) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.inserter.statistics.failedAttempts.isEmpty)
        #expect(try await database.rows("SELECT count(), sum(bytes) FROM network_flows_0") == [["6", "900"]])

        for tls in [
            HTTPClient.TLS(), HTTPClient.TLS(authorities: .file(certificates.path("authority.pem"))),
            HTTPClient.TLS(
                authorities: .file(others.path("authority.pem")), certificate: .file(certificates.path("client.pem")),
                key: .file(certificates.path("client.key"))),
        ] {
            configuration.tls = tls
            let result = try await withClient(configuration) { client throws(ClickHouseError) in
                try client.query("SELECT 1")
            }
            guard case .failure(let error) = result else {
                Issue.record("a client without a trusted certificate got a response")
                continue
            }
            #expect(error.failureClass == .operator || error.reason == "connection")
        }
    }

    @Test("rows are inserted through a proxy, with TLS and without") func proxies() async throws {
        let certificates = try await TestCertificates()
        let database = try await TestDatabase.make()
        let terminator = try await TLSTerminator(before: database.url, certificates)
        let (tunnel, forwarder) = (try ConnectProxy(), try FaultyProxy.start(before: database.url) { _, _ in .none })
        var configuration = ClickHouseClient.Configuration(database)
        configuration.tls = HTTPClient.TLS(
            authorities: .file(certificates.path("authority.pem")), certificate: .file(certificates.path("client.pem")),
            key: .file(certificates.path("client.key")))
        // Only the proxy can resolve the second name.
        for (endpoint, proxy) in [(terminator.url, tunnel.url), ("http://clickhouse.invalid:8123", forwarder.url)] {
            configuration.endpoints = [endpoint]
            configuration.proxy = .url(proxy)
            let test = try InserterUnderTest(configuration)
            test.submit(1)
            #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
            #expect(test.inserter.statistics.failedAttempts.isEmpty)
        }
        #expect(tunnel.targets.map { "https://\($0)" } == [terminator.url])
        #expect(forwarder.inserts.first?.target.hasPrefix("http://clickhouse.invalid:8123/?") == true)
        #expect(try await database.rows("SELECT count(), sum(bytes) FROM network_flows_0") == [["4", "600"]])
    }

    @Test("TLS at a port without TLS fails with an error that names the setting")
    func plainPort() async throws {
        let database = try await TestDatabase.make()
        var configuration = ClickHouseClient.Configuration(database)
        let url = database.url.replacing("http://", with: "https://")
        configuration.endpoints = [url]
        configuration.remedies = [url: "set clickhouse_disable_tls: true"]
        let result = try await withClient(configuration) { client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }
        guard case .failure(let error) = result else {
            Issue.record("the TLS connection to a plaintext port succeeded")
            return
        }
        #expect("\(error)".hasSuffix("; set clickhouse_disable_tls: true"), "\(error)")
        #expect(error.reason == "tls")
    }

    @Test("a failed handshake names the remedy for a wrong port; an outage does not")
    func remedies() async throws {
        // This server closes TLS connections.
        let plain = try RawHTTPServer { _, _ in .hangUp }
        let database = try await TestDatabase.make()
        for (server, hasRemedy) in [(plain.url, true), (try RawHTTPServer.closedURL(), false)] {
            var configuration = ClickHouseClient.Configuration(database)
            let url = server.replacing("http://", with: "https://")
            (configuration.endpoints, configuration.remedies) = ([url], [url: "use another port"])
            let result = try await withClient(configuration) { client throws(ClickHouseError) in
                try client.query("SELECT 1")
            }
            guard case .failure(.unreachable(_, let error)) = result else {
                Issue.record("the server was reached")
                continue
            }
            #expect("\(error)".hasSuffix("; use another port") == hasRemedy, "\(error)")
            #expect(error.kind == .connection && !error.wasSent)
        }
    }
}
