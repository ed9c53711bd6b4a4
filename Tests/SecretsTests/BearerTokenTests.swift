// SPDX-License-Identifier: Apache-2.0

import Secrets
import Testing

@Suite struct BearerTokenTests {
    @Test(
        "tokens are equal if their secrets are",
        arguments: [
            ("secret", "secret", true), ("secret", "secreT", false), ("secret", "secret2", false), ("", "", true),
            ("", "a", false),
        ])
    func tokensAreEqualWhereTheirSecretsAre(_ left: String, _ right: String, _ isEqual: Bool) {
        #expect(BearerToken(left).isEqualInConstantTime(to: BearerToken(right)) == isEqual)
    }

    @Test("a token's secret is never printed") func aTokenPrintsAsNothing() {
        let token = BearerToken("very secret")
        var dumped = ""
        dump([token], to: &dumped)
        for text in ["\(token)", String(reflecting: token), dumped] { #expect(!text.contains("very secret")) }
    }
}
