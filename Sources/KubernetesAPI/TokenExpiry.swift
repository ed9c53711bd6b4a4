// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FoundationEssentials

/// The end of its life that a token names in itself: the claim `exp` of a JSON Web Token (RFC 7519, section 4.1.4).
///
/// The claim is true only of a token that the API server calls good. Of any other it can still be believed that it has
/// expired.
package struct TokenExpiry: Equatable, Sendable {
    /// Time for which a token counts beyond its end: clocks differ, and the API server's own grace is a minute
    /// (`jwt.DefaultLeeway` of go-jose).
    static let leeway = Duration.seconds(60)

    private struct Claims: Decodable {
        let exp: Double?
    }

    /// The end as the time since the Unix epoch.
    package let time: Duration

    /// Reads a token; nil where it names no end, as one that is no JSON Web Token.
    package init?(of token: String) {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let claims = Self.decode(base64URL: parts[1]),
            let exp = try? JSONDecoder().decode(Claims.self, from: claims).exp
        else { return nil }
        time = Duration(clampingSeconds: exp)
    }

    /// Returns the time for which the token still counts, less than zero where that is over.
    ///
    /// - Parameter now: The time since the Unix epoch.
    package func lifetime(at now: Duration) -> Duration {
        // No life is longer than a year: no sum with it overflows.
        min(time.clampedSubtracting(now), .seconds(365 * 86_400)) + Self.leeway
    }

    private static func decode(base64URL text: Substring) -> Data? {
        var text = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        text += String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        return Data(base64Encoded: text)
    }
}
