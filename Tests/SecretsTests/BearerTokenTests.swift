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
        let hello = Hello(
            nodeName: "node-a", agentID: .random(), softwareVersion: "test", token: BearerToken("very secret"))
        var dumped = ""
        dump(hello, to: &dumped)
        #expect(dumped.contains("node-a"))
        for text in ["\(hello)", String(reflecting: hello), dumped] { #expect(!text.contains("very secret")) }
    }
}
