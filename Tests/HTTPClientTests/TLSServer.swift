// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// OpenSSL's own test server: answers every request with a page about the connection.
final class TLSServer: Sendable {
    /// Where it listens.
    let port: Int
    private let process: ChildProcess

    /// Starts a server that may ask for a client's certificate.
    init(_ certificates: TestCertificates, asksForClient: Bool = false) async throws {
        let path = certificates.path
        process = try ChildProcess(
            URL(filePath: "/usr/bin/env"),
            [
                "openssl", "s_server", "-www", "-accept", "127.0.0.1:0", "-cert", path("server.pem"),
                "-key", path("server.key"),
            ] + (asksForClient ? ["-Verify", "1", "-verify_return_error", "-CAfile", path("authority.pem")] : []))
        var found: Int?
        let process = process
        try await eventually("the TLS server listens") {
            found = process.output.firstMatch(of: /ACCEPT 127\.0\.0\.1:(\d+)/).flatMap { Int($0.1) }
            return found != nil
        }
        port = found ?? 0
    }
}
