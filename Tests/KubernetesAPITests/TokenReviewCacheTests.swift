// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import KubernetesAPI

@Suite struct TokenReviewCacheTests {
    private let start = ContinuousClock.now
    private let good = TokenReviewer.Verdict.authenticated(TokenIdentity(username: "a"))
    private let bad = TokenReviewer.Verdict.denied("no")

    @Test("a positive verdict is cached for longer than a denial") func goodTokensAreRememberedLongerThanBadOnes() {
        var cache = TokenReviewCache(goodLifetime: .seconds(120), badLifetime: .seconds(10))
        cache.remember(good, on: "good", now: start)
        cache.remember(bad, on: "bad", now: start)
        #expect(cache.verdict(on: "good", now: start + .seconds(119)) == good)
        #expect(cache.verdict(on: "good", now: start + .seconds(120)) == nil)
        #expect(cache.verdict(on: "bad", now: start + .seconds(9)) == bad)
        #expect(cache.verdict(on: "bad", now: start + .seconds(10)) == nil)
        #expect(cache.verdict(on: "goo", now: start) == nil)
    }

    @Test("a flood of denials is limited and evicts no positive verdict")
    func aFloodOfBadTokensTakesNoMoreRoomAndLeavesGoodOnes() {
        var cache = TokenReviewCache(maximumGood: 100)
        cache.remember(good, on: "good", now: start)
        for number in 0..<20_000 {
            cache.remember(bad, on: "bad \(number)", now: start)
            #expect(cache.count <= 10_001)
        }
        #expect(cache.verdict(on: "good", now: start) == good)
        for number in 0..<1_000 { cache.remember(good, on: "good \(number)", now: start) }
        #expect(cache.count <= 10_100)
    }

    @Test("a positive verdict is not cached beyond the token's expiry")
    func tokenLifetime() {
        var cache = TokenReviewCache()
        cache.remember(good, on: "short", tokenLifetime: .seconds(30), now: start)
        cache.remember(good, on: "long", tokenLifetime: .seconds(3_600), now: start)
        cache.remember(good, on: "over", tokenLifetime: .seconds(-1), now: start)
        #expect(cache.verdict(on: "short", now: start + .seconds(29)) == good)
        #expect(cache.verdict(on: "short", now: start + .seconds(30)) == nil)
        #expect(cache.verdict(on: "long", now: start + .seconds(119)) == good)
        #expect(cache.verdict(on: "long", now: start + .seconds(120)) == nil)
        #expect(cache.verdict(on: "over", now: start) == nil)
    }

    @Test("the last verdict on a token counts")
    func lastVerdict() {
        var cache = TokenReviewCache()
        cache.remember(good, on: "token", now: start)
        cache.remember(bad, on: "token", now: start)
        #expect(cache.verdict(on: "token", now: start) == bad && cache.lastIdentity(of: "token") == nil)
        cache.remember(good, on: "token", now: start)
        #expect(cache.verdict(on: "token", now: start) == good && cache.count == 1)
    }

    @Test("expired verdicts are evicted before current ones") func whatIsOverMakesRoom() {
        var cache = TokenReviewCache(maximumGood: 2)
        cache.remember(good, on: "old", now: start)
        cache.remember(good, on: "young", now: start + .seconds(60))
        cache.remember(good, on: "new", now: start + .seconds(150))
        #expect(cache.verdict(on: "young", now: start + .seconds(150)) == good)
        #expect(cache.count == 2)
    }
}
