// SPDX-License-Identifier: Apache-2.0

import Foundation
import KubernetesAPI
import KubernetesTestKit
import Testing

@Suite struct TokenExpiryTests {
    @Test("the expiry of a service account's token is read from it")
    func serviceAccountToken() throws {
        let token = FixtureAccount.token(expiry: 1_700_000_000, padding: "??>>~~")
        #expect(!token.contains("=") && token.split(separator: ".").count == 3)
        let expiry = try #require(TokenExpiry(of: token))
        #expect(expiry.time == .seconds(1_700_000_000))
        // The API server's own leeway.
        #expect(expiry.lifetime(at: .seconds(1_700_000_000)) == .seconds(60))
        #expect(expiry.lifetime(at: .seconds(1_700_000_061)) == .seconds(-1))
        #expect(expiry.lifetime(at: .zero) == .seconds(365 * 86_400 + 60))
    }

    @Test(
        "a token without an expiry has none",
        arguments: [
            "", "secret", "..", "a.b.c", "a.e30.c", "a.eyJleHAiOiJzb29uIn0.c", "a.eyJleHAiOm51bGx9.c", "a.W10.c",
            "a.eyJleHAiOjFlOTk5OX0.c", "a.eyJleHAiOjF9", "a.\u{e4}.c",
        ])
    func otherTokens(token: String) {
        #expect(TokenExpiry(of: token) == nil)
    }

    @Test("any number is accepted as a token's expiry", arguments: [-1e300, -1, 0, 1.5, 1e18, 1e300])
    func anyNumber(exp: Double) throws {
        let payload = Data("{\"exp\":\(exp)}".utf8).base64EncodedString()
        let expiry = try #require(TokenExpiry(of: "a.\(payload).c"))
        for now in [Duration(attoseconds: .min), .zero, .seconds(1_800_000_000), Duration(attoseconds: .max)] {
            #expect(expiry.lifetime(at: now) <= .seconds(365 * 86_400 + 60))
        }
    }
}
