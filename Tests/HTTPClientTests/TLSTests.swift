// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import HTTPClient
import TestSupport
import Testing

/// Returns the status of a request over TLS, or its error.
private func outcome(
    _ tls: HTTPClient.TLS, url: String, destination: String? = nil
) async throws -> Result<Int, HTTPError> {
    try await onThread {
        let client = HTTPClient(tls: tls, destination: destination)
        return Result { () throws(HTTPError) in
            try client.perform(
                HTTPRequest(.get, url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000)
            ).status
        }
    }
}

/// Starts a server behind TLS.
private func serve(
    _ certificates: TestCertificates, asksForClient: Bool = false, offer: TLSTerminator.Offer = .everything
) async throws -> TLSTerminator {
    let server = try RawHTTPServer { _, _ in .status(200) }
    return try await TLSTerminator(before: server.url, certificates, asksForClient: asksForClient, offer: offer)
}

extension Result where Failure == HTTPError {
    fileprivate var failure: HTTPError? {
        if case .failure(let error) = self { error } else { nil }
    }
}

@Suite struct TLSTests {
    @Test("a server's certificate is checked against the configured authorities")
    func aServerIsCheckedAgainstTheAuthoritiesGiven() async throws {
        let certificates = try await TestCertificates()
        let server = try await serve(certificates)
        let url = server.url
        let (file, bytes) = (certificates.path("authority.pem"), try certificates.bytes("authority.pem"))
        #expect(try await outcome(.init(authorities: .file(file)), url: url) == .success(200))
        #expect(try await outcome(.init(authorities: .bytes(bytes)), url: url) == .success(200))
        #expect(try await outcome(.init(), url: url).failure?.kind == .tls)
        #expect(try await outcome(.init(verifiesServer: false), url: url) == .success(200))
        let other = try await TestCertificates()
        #expect(
            try await outcome(.init(authorities: .file(other.path("authority.pem"))), url: url).failure?.kind == .tls)
    }

    @Test("an unusable file of authorities is an error of the request")
    func authoritiesThatAreNoneAreAnErrorOfTheRequest() async throws {
        let certificates = try await TestCertificates()
        let server = try await serve(certificates)
        let url = server.url
        let missing = try await outcome(.init(authorities: .file("/nonexistent/ca.crt")), url: url)
        #expect(missing.failure?.kind == .badRequest)
        #expect(missing.failure?.message.contains("/nonexistent/ca.crt") == true)
        let pipe = certificates.path("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        // libcurl would wait for the writer.
        let blocking = try await outcome(.init(authorities: .file(pipe)), url: url)
        #expect(blocking.failure?.kind == .badRequest)
        #expect(blocking.failure?.message.contains("\(pipe) is not a regular file") == true)
        let rubbish = try await outcome(.init(authorities: .bytes(Array("rubbish".utf8))), url: url)
        #expect(rubbish.failure?.kind == .badRequest)
    }

    @Test("the certificate is checked against the name in the URL")
    func theNameInTheURLIsTheOneThatIsChecked() async throws {
        let certificates = try await TestCertificates()
        let server = try await serve(certificates)
        let tls = HTTPClient.TLS(authorities: .file(certificates.path("authority.pem")))
        let destination = "127.0.0.1:\(server.port)"
        #expect(
            try await outcome(tls, url: "https://api.cluster.test/", destination: destination) == .success(200))
        #expect(
            try await outcome(tls, url: "https://other.cluster.test/", destination: destination).failure?.kind == .tls)
    }

    @Test("the client sends its certificate") func aClientShowsItsCertificate() async throws {
        let certificates = try await TestCertificates()
        let server = try await serve(certificates, asksForClient: true)
        let url = server.url
        var tls = HTTPClient.TLS(authorities: .file(certificates.path("authority.pem")))
        #expect(try await outcome(tls, url: url).failure?.kind == .tls)
        tls.certificate = .file(certificates.path("client.pem"))
        tls.key = .file(certificates.path("client.key"))
        #expect(try await outcome(tls, url: url) == .success(200))
        tls.certificate = .bytes(try certificates.bytes("client.pem"))
        tls.key = .bytes(try certificates.bytes("client.key"))
        #expect(try await outcome(tls, url: url) == .success(200))
        tls.key = .bytes(try certificates.bytes("server.key"))
        #expect(try await outcome(tls, url: url).failure?.kind == .badRequest)
    }

    /// Each kind of key serves for the server, the client, the authority and the one above it at once.
    @Test(
        "HTTPS works with every key type of cert-manager, whichever authority is trusted",
        arguments: TestCertificates.Key.issued)
    func keys(_ key: TestCertificates.Key) async throws {
        let certificates = try await TestCertificates(key, hasIntermediate: true)
        for offer in [TLSTerminator.Offer.everything, .version12] {
            let server = try await serve(certificates, asksForClient: true, offer: offer)
            for authorities in ["root.pem", "authority.pem", "authorities.pem"] {
                let files = HTTPClient.TLS(
                    authorities: .file(certificates.path(authorities)),
                    certificate: .file(certificates.path("client.pem")), key: .file(certificates.path("client.key")))
                // As bytes, the way a kubeconfig may hold those for the API server.
                let bytes = HTTPClient.TLS(
                    authorities: .bytes(try certificates.bytes(authorities)),
                    certificate: .bytes(try certificates.bytes("client.pem")),
                    key: .bytes(try certificates.bytes("client.key")))
                for tls in [files, bytes] {
                    try tls.check()
                    #expect(try await outcome(tls, url: server.url) == .success(200), "\(offer) \(authorities)")
                }
            }
        }
    }

    @Test("unusable certificates and keys fail the check")
    func check() async throws {
        let certificates = try await TestCertificates()
        try await ChildProcess.shell(
            """
            cd '\(certificates.folder.path)'
            openssl pkcs8 -topk8 -in client.key -passout pass:x -out encrypted.key
            echo rubbish >rubbish.pem
            """)
        func tls(_ authority: String, _ certificate: String, _ key: String) -> HTTPClient.TLS {
            HTTPClient.TLS(
                authorities: .file(certificates.path(authority)), certificate: .file(certificates.path(certificate)),
                key: .file(certificates.path(key)))
        }
        try tls("authority.pem", "client.pem", "client.key").check()
        try HTTPClient.TLS().check()
        for unusable in [
            tls("rubbish.pem", "client.pem", "client.key"), tls("missing.pem", "client.pem", "client.key"),
            tls("authority.pem", "rubbish.pem", "client.key"), tls("authority.pem", "client.pem", "rubbish.pem"),
            tls("authority.pem", "client.pem", "server.key"), tls("authority.pem", "client.pem", "encrypted.key"),
        ] {
            let error = #expect(throws: HTTPError.self) { try unusable.check() }
            #expect(
                error?.kind == .badRequest && error?.message.isEmpty == false, "\(unusable): \(error?.message ?? "")")
        }
    }

    @Test(
        "a server without forward secrecy or authenticated encryption is rejected",
        arguments: [TLSTerminator.Offer.cbcAlone, .rsaKeyExchangeAlone])
    func weakServers(_ offer: TLSTerminator.Offer) async throws {
        let certificates = try await TestCertificates(.rsa2048)
        let server = try await serve(certificates, offer: offer)
        let tls = HTTPClient.TLS(authorities: .file(certificates.path("authority.pem")))
        #expect(try await outcome(tls, url: server.url).failure?.kind == .tls)
    }

    @Test(
        "a connection lost during the handshake is a connection error; other failures are TLS errors",
        arguments: HandshakeEnd.allCases)
    func unfinishedHandshake(_ end: HandshakeEnd) async throws {
        let peer = try UnfinishedHandshake(end)
        let error = try await outcome(.init(), url: "https://127.0.0.1:\(peer.port)/").failure
        #expect(error?.kind == (end == .plainText ? .tls : .connection), "\(error?.message ?? "")")
    }
}
