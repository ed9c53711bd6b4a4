// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Foundation
import KubernetesAPI
import KubernetesTestKit
import TestSupport
import Testing

private func server(_ certificates: TestCertificates, asksForClient: Bool = false) async throws -> APIServerFixture {
    var options = APIServerFixture.Options()
    options.tls = (
        certificates.path("server.pem"), certificates.path("server.key"),
        asksForClient ? certificates.path("authority.pem") : nil
    )
    let server = try await APIServerFixture.start(options)
    server.apply(Node(name: "node-a", addresses: []))
    return server
}

@Suite struct ReflectorTLSTests {
    @Test("the reflector sends its client certificate") func aClientsCertificateIsShown() async throws {
        let certificates = try await TestCertificates()
        let server = try await server(certificates, asksForClient: true)
        var cluster = ClusterConfiguration(
            origin: "a test", server: server.url, authorities: .file(certificates.path("authority.pem")))
        let stranger = RunningReflector(.nodes, of: cluster)
        try await eventually("a client without a certificate is rejected") {
            (stranger.statistics.failures[.tls] ?? 0) > 0
        }
        cluster.certificate = .file(certificates.path("client.pem"))
        cluster.key = .bytes(try certificates.bytes("client.key"))
        let reflector = RunningReflector(.nodes, of: cluster)
        try await reflector.holds(["node-a"])
        #expect(!stranger.statistics.isSynced)
    }

    @Test("the server's certificate is checked against the configured name")
    func theServersNameIsTheOneThatIsAskedFor() async throws {
        let certificates = try await TestCertificates()
        let server = try await server(certificates)
        var cluster = ClusterConfiguration(
            origin: "a test", server: server.url, serverName: "api.cluster.test",
            authorities: .file(certificates.path("authority.pem")))
        try await RunningReflector(.nodes, of: cluster).holds(["node-a"])
        cluster.serverName = "other.cluster.test"
        let refused = RunningReflector(.nodes, of: cluster)
        try await eventually("the server's certificate is rejected") { (refused.statistics.failures[.tls] ?? 0) > 0 }
    }

    @Test("a server with another name is accepted without verification")
    func aServerUnderAnotherNameIsFoundWithoutAnyCertificate() async throws {
        let certificates = try await TestCertificates()
        let server = try await server(certificates)
        try await RunningReflector(
            .nodes,
            of: ClusterConfiguration(
                origin: "a test", server: server.url, serverName: "api.cluster.test", verifiesServer: false)
        ).holds(["node-a"])
    }

    @Test("a replaced authority is read again") func anAuthorityThatIsExchangedIsReadAgain() async throws {
        let (old, new) = (try await TestCertificates(), try await TestCertificates())
        let folder = try TemporaryFolder()
        let authority = try folder.write(
            String(decoding: try old.bytes("authority.pem"), as: UTF8.self), to: "ca.crt")
        let server = try await server(new)
        let reflector = RunningReflector(
            .nodes, of: ClusterConfiguration(origin: "a test", server: server.url, authorities: .file(authority)))
        try await eventually("the server's certificate is rejected") { (reflector.statistics.failures[.tls] ?? 0) > 0 }
        try folder.write(String(decoding: try new.bytes("authority.pem"), as: UTF8.self), to: "ca.crt")
        try await reflector.holds(["node-a"])
    }

    @Test("a server is accepted if verification is off") func aServerThatIsNotCheckedIsTaken() async throws {
        let certificates = try await TestCertificates()
        let server = try await server(certificates)
        try await RunningReflector(
            .nodes, of: ClusterConfiguration(origin: "a test", server: server.url, verifiesServer: false)
        ).holds(["node-a"])
    }

    @Test(
        "every key type of cert-manager works on both sides, also with a trusted intermediate authority",
        arguments: TestCertificates.Key.issued)
    func keys(_ key: TestCertificates.Key) async throws {
        let certificates = try await TestCertificates(key, hasIntermediate: true)
        let server = try await APIServerFixture.start()
        server.apply(Node(name: "node-a", addresses: []))
        let terminator = try await TLSTerminator(before: server.port, certificates, asksForClient: true)
        for authorities in ["root.pem", "authority.pem", "authorities.pem"] {
            try await RunningReflector(
                .nodes,
                of: ClusterConfiguration(
                    origin: "a test", server: terminator.url, authorities: .file(certificates.path(authorities)),
                    certificate: .bytes(try certificates.bytes("client.pem")),
                    key: .file(certificates.path("client.key")))
            ).holds(["node-a"])
        }
    }
}
