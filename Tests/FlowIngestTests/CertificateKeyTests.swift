// SPDX-License-Identifier: Apache-2.0

import FlowExport
import FlowIngest
import Foundation
import TestSupport
import Testing
import TransportSecurity

/// The certificates and TLS versions that agents and servers accept from each other.
@Suite struct CertificateKeyTests {
    /// Each type of key is used for the server's and the agent's certificate, the authority and the root above it.
    @Test(
        "agents and servers connect with every key type of cert-manager, whichever authority is trusted",
        arguments: TestCertificates.Key.issued)
    func keys(_ key: TestCertificates.Key) async throws {
        let certificates = try await TestCertificates(key, hasIntermediate: true)
        for (authorities, suffix) in [
            ("root.pem", ""), ("authority.pem", ""), ("authorities.pem", ""), ("authority.pem", "-alone"),
            ("authorities.pem", "-alone"),
        ] {
            let server = certificates.files("server\(suffix)", authorities)
            let agent = certificates.files("client\(suffix)", authorities)
            try server.check(isServer: true)
            try agent.check(isServer: false)
            let ingest = try await TestIngest.start { $0.tls = server }
            let exporter = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: agent) }
            exporter.export()
            _ = try await ingest.deliveries(1)
            #expect(ingest.server.statistics.errors == [:], "\(authorities) \(suffix)")
            #expect(exporter.exporter.statistics.connectionFailures == [:], "\(authorities) \(suffix)")
            try await exporter.stop()
        }
    }

    @Test("peers with TLS 1.2 are accepted with every key type", arguments: TestCertificates.Key.issued)
    func version12(_ key: TestCertificates.Key) async throws {
        let certificates = try await TestCertificates(key, hasIntermediate: true)
        let files = certificates.files("server", "authority.pem")
        let secured = try await TestIngest.start { $0.tls = files }
        let code = try await handshake(
            secured, certificates,
            ["-tls1_2", "-cert", "client.pem", "-key", "client.key", "-cert_chain", "authority.pem"])
        #expect(code == 0)

        let plain = try await TestIngest.start()
        let terminator = try await TLSTerminator(
            before: plain.address.port ?? 0, certificates, asksForClient: true, offer: .version12)
        let agent = ExporterUnderTest(to: try .init(ipAddress: "127.0.0.1", port: terminator.port)) {
            $0.tls = .init(files: certificates.files("client", "authority.pem"))
        }
        agent.export()
        _ = try await plain.deliveries(1)
        try await agent.stop()
    }

    @Test("an agent with a certificate of another authority is rejected, also by a trusted intermediate")
    func strangers() async throws {
        let certificates = try await TestCertificates(hasIntermediate: true)
        let strangers = try await TestCertificates(hasIntermediate: true)
        let ingest = try await TestIngest.start { $0.tls = certificates.files("server", "authority.pem") }
        let agent = ExporterUnderTest(to: ingest.address) {
            var files = strangers.files("client", "authority.pem")
            files.authorities = certificates.path("authority.pem")
            $0.tls = .init(files: files)
        }
        agent.export()
        try await eventually("the untrusted certificate is counted") {
            ingest.server.statistics.errors["tls_untrusted_certificate"] != nil
        }
        #expect(ingest.deliveries().isEmpty)
        try await agent.stop()

        let other = try await TestIngest.start { $0.tls = strangers.files("server", nil) }
        let betrayed = ExporterUnderTest(to: other.address) {
            $0.tls = .init(files: certificates.files("client", "authority.pem"))
        }
        betrayed.export()
        try await betrayed.failed("tls_untrusted_certificate")
        try await betrayed.stop()
    }

    @Test(
        "a client without forward secrecy, authenticated encryption or at least TLS 1.2 is rejected",
        arguments: [
            ["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384"],
            ["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:AES128-SHA256"],
            ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256"],
            ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
            ["-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
        ])
    func weakClients(_ arguments: [String]) async throws {
        let certificates = try await TestCertificates(.rsa2048)
        let ingest = try await TestIngest.start { $0.tls = certificates.serverFiles() }
        #expect(try await handshake(ingest, certificates, arguments) != 0)
        try await eventually("the rejected TLS version is counted") {
            ingest.server.statistics.errors == ["tls_version": 1]
        }
        for suite in ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"] {
            #expect(try await handshake(ingest, certificates, ["-tls1_2", "-cipher", suite]) == 0, "\(suite)")
        }
    }

    @Test(
        "an agent rejects a server without forward secrecy or authenticated encryption",
        arguments: [TLSTerminator.Offer.cbcAlone, .rsaKeyExchangeAlone])
    func weakServers(_ offer: TLSTerminator.Offer) async throws {
        let certificates = try await TestCertificates(.rsa2048)
        let plain = try await TestIngest.start()
        let terminator = try await TLSTerminator(before: plain.address.port ?? 0, certificates, offer: offer)
        let agent = ExporterUnderTest(to: try .init(ipAddress: "127.0.0.1", port: terminator.port)) {
            $0.tls = .init(files: certificates.agentFiles())
        }
        agent.export()
        try await agent.failed("tls_version")
        #expect(plain.deliveries().isEmpty)
        try await agent.stop()
    }

    /// Runs OpenSSL's client in the certificates' folder, and returns its exit code after the handshake.
    private func handshake(
        _ ingest: TestIngest, _ certificates: TestCertificates, _ arguments: [String]
    ) async throws -> Int32 {
        let port = ingest.address.port ?? 0
        let command = "cd '\(certificates.folder.path)' && exec openssl s_client \"$@\""
        let client = try ChildProcess(
            URL(filePath: "/bin/sh"),
            ["-c", command, "sh", "-connect", "127.0.0.1:\(port)", "-brief"] + arguments)
        return try await client.wait()
    }
}

extension TestCertificates {
    /// Returns the files of one side, which trusts the given file of authorities.
    fileprivate func files(_ name: String, _ authorities: String?) -> TLSFiles {
        TLSFiles(certificate: path("\(name).pem"), key: path("\(name).key"), authorities: authorities.map(path))
    }
}
