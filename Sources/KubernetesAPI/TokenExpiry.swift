// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FoundationEssentials

/// The expiry in a token: the claim `exp` of a JSON Web Token (RFC 7519, section 4.1.4).
///
/// The claim can be trusted only if the API server has accepted the token. Of any other token, only the claim that it
/// has expired can be believed.
package struct TokenExpiry: Equatable, Sendable {
    /// The time for which a token is valid beyond its expiry: clocks differ, and the API server's own leeway is a
    /// minute (`jwt.DefaultLeeway` of go-jose).
    static let leeway = Duration.seconds(60)

    private struct Claims: Decodable {
        let exp: Double?
    }

    /// The expiry as the time since the Unix epoch.
    package let time: Duration

    /// Reads a token; returns nil if it has no expiry or is not a JSON Web Token.
    package init?(of token: String) {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let claims = Self.decode(base64URL: parts[1]),
            let exp = try? JSONDecoder().decode(Claims.self, from: claims).exp
        else { return nil }
        time = Duration(clampingSeconds: exp)
    }

    /// Returns the remaining lifetime of the token, less than zero once that is over.
    ///
    /// - Parameter now: The time since the Unix epoch.
    package func lifetime(at now: Duration) -> Duration {
        // Lifetimes are limited to a year, so that no sum with them overflows.
        min(time.clampedSubtracting(now), .seconds(365 * 86_400)) + Self.leeway
    }

    private static func decode(base64URL text: Substring) -> Data? {
        var text = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        text += String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        return Data(base64Encoded: text)
    }
}
