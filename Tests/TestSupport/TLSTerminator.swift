// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Terminates TLS in front of a plain TCP server, such as a real ClickHouse, with OpenSSL by way of Python.
public final class TLSTerminator: Sendable {
    /// The TLS versions and cipher suites that it offers.
    public enum Offer: String, CaseIterable, Sendable {
        /// Everything that OpenSSL offers by default.
        case everything
        /// At most TLS 1.2.
        case version12
        /// TLS 1.2 with forward secrecy but without authenticated encryption.
        case cbcAlone
        /// TLS 1.2 without forward secrecy.
        case rsaKeyExchangeAlone

        /// The TLS 1.2 cipher list in OpenSSL's syntax; empty to offer TLS 1.3 too.
        fileprivate var version12Ciphers: String {
            switch self {
            case .everything: ""
            case .version12: "DEFAULT"
            case .cbcAlone: "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA"
            case .rsaKeyExchangeAlone: "AES128-GCM-SHA256:AES128-SHA"
            }
        }
    }

    /// The port on the loopback interface.
    public let port: Int
    /// The URL at which it listens: `https://127.0.0.1:` and the port.
    public var url: String { "https://127.0.0.1:\(port)" }
    private let process: ChildProcess

    /// Starts it with the server's certificate.
    ///
    /// - Parameters:
    ///   - target: The port of the server on the loopback interface.
    ///   - asksForClient: Whether clients need a certificate of the authority, or of the one above it.
    public init(
        before target: Int, _ certificates: TestCertificates, asksForClient: Bool = false, offer: Offer = .everything
    ) async throws {
        let path = certificates.path
        let authorities = ["authorities.pem", "authority.pem"].map(path).first(where: FileManager.default.fileExists)
        process = try ChildProcess(
            URL(filePath: "/usr/bin/env"),
            [
                "python3", "-c", Self.program, "\(target)", path("server.pem"), path("server.key"),
                asksForClient ? authorities ?? "" : "", offer.version12Ciphers,
            ])
        var found: Int?
        let process = process
        try await eventually("the TLS terminator listens") {
            found = process.output.firstMatch(of: /port (\d+)\n/).flatMap { Int($0.1) }
            return found != nil
        }
        port = found ?? 0
    }

    /// Starts it in front of the server at a URL on the loopback interface.
    public convenience init(
        before url: String, _ certificates: TestCertificates, asksForClient: Bool = false, offer: Offer = .everything
    ) async throws {
        guard let target = URLComponents(string: url)?.port else { throw TestEnvironmentError("\(url) has no port") }
        try await self.init(before: target, certificates, asksForClient: asksForClient, offer: offer)
    }

    private static let program = """
        import select, socket, ssl, sys, threading
        target, certificate, key, authorities, ciphers = sys.argv[1:]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if authorities:
            context.load_verify_locations(authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        if ciphers:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)

        def serve(connection):
            secure = context.wrap_socket(connection.dup(), server_side=True, do_handshake_on_connect=False)
            try:
                secure.do_handshake()
            except OSError:
                # The alert is out. Closed with bytes unread, the connection would be reset before the client has it.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
                return
            with secure, connection, socket.create_connection(("127.0.0.1", int(target))) as plain:
                other = {secure: plain, plain: secure}
                while True:
                    for end in [secure] if secure.pending() else select.select(list(other), [], [])[0]:
                        data = end.recv(1 << 16)
                        if not data:
                            return
                        other[end].sendall(data)

        threading.excepthook = lambda problem: print(problem.exc_value)
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        print("port", listener.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
        """
}
