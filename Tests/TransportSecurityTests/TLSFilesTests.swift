// SPDX-License-Identifier: Apache-2.0

import Foundation
import Secrets
import TestSupport
import Testing

@testable import TransportSecurity

/// Files that are rejected at load because no handshake could use them.
@Suite struct TLSFilesTests {
    @Test(
        "a key that no handshake can use is rejected, and the error names the supported keys",
        arguments: TestCertificates.Key.unsupported)
    func unsupportedKeys(_ key: TestCertificates.Key) async throws {
        let unusable = try await TestCertificates(key)
        let usable = try await TestCertificates()
        for (isServer, name, file) in [(true, "server", "server.pem"), (false, "client", "client.pem")] {
            let own = TLSFiles(certificate: unusable.path("\(name).pem"), key: unusable.path("\(name).key"))
            expect(own, isServer: isServer, names: [unusable.path(file), "P-256, P-384, P-521", "Ed25519"])
            let authority = TLSFiles(
                certificate: usable.path("\(name).pem"), key: usable.path("\(name).key"),
                authorities: unusable.path("authority.pem"))
            expect(authority, isServer: isServer, names: [unusable.path("authority.pem"), "Ed25519"])
        }
        // A usable certificate followed by an authority's with an unusable key.
        let chain = usable.folder.appending(path: "chain.pem")
        try Data(try usable.bytes("server.pem") + unusable.bytes("authority.pem")).write(to: chain)
        expect(
            TLSFiles(certificate: chain.path, key: usable.path("server.key")), isServer: true, names: [chain.path])
    }

    @Test("a bundle may contain other certificates beside an authority")
    func bundles() async throws {
        let usable = try await TestCertificates()
        let unusable = try await TestCertificates(try #require(TestCertificates.Key.unsupported.first))
        let authority = try usable.bytes("authority.pem")
        let bundle = usable.folder.appending(path: "bundle.pem")
        for other in [try usable.bytes("server.pem"), try unusable.bytes("authority.pem")] {
            for bytes in [other + authority, authority + other] {
                try Data(bytes).write(to: bundle)
                try TLSFiles(
                    certificate: usable.path("server.pem"), key: usable.path("server.key"), authorities: bundle.path
                ).check(isServer: true)
            }
        }
    }

    @Test("a certificate that may not issue others is rejected as an authority, unless it is self-signed")
    func authorities() async throws {
        let certificates = try await TestCertificates(hasIntermediate: true)
        var files = TLSFiles(certificate: certificates.path("server.pem"), key: certificates.path("server.key"))
        files.authorities = certificates.path("server-alone.pem")
        expect(files, isServer: true, names: ["server-alone.pem", "must hold CA certificates"])
        expect(files, isServer: false, names: ["server-alone.pem", "must hold CA certificates"])

        let settings =
            "[req]\ndistinguished_name=name\nx509_extensions=leaf\n[name]\n[leaf]\nbasicConstraints=CA:FALSE\n"
        try Data(settings.utf8).write(to: certificates.folder.appending(path: "self.cnf"))
        try await ChildProcess.shell(
            """
            cd '\(certificates.folder.path)'
            openssl req -x509 -newkey ed25519 -nodes -days 2 -subj /CN=self -config self.cnf -keyout self.key -out self.pem
            """)
        try TLSFiles(
            certificate: certificates.path("self.pem"), key: certificates.path("self.key"),
            authorities: certificates.path("self.pem")
        ).check(isServer: true)
    }

    @Test("mutated certificates are parsed or rejected without a crash")
    func mutations() async throws {
        let certificates = try await TestCertificates(hasIntermediate: true)
        let pem = String(decoding: try certificates.bytes("authority.pem"), as: UTF8.self)
        let base64 = pem.split(separator: "\n").filter { !$0.hasPrefix("-") }.joined()
        let der = Array(try #require(Data(base64Encoded: base64)))
        let fields = try #require(CertificateFields(der: der))
        #expect(fields.isAuthority && !fields.isSelfIssued && fields.hasSupportedKey)
        for length in 0..<der.count { _ = CertificateFields(der: Array(der.prefix(length))) }
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<20_000 {
            var mutated = der
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                mutated[Int.random(in: 0..<der.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = CertificateFields(der: mutated)
        }
    }

    private func expect(_ files: TLSFiles, isServer: Bool, names parts: [String]) {
        let error = #expect(throws: CredentialError.self) { try files.check(isServer: isServer) }
        for part in parts {
            #expect(error?.description.contains(part) == true, "\(part) in \(error?.description ?? "")")
        }
    }
}
