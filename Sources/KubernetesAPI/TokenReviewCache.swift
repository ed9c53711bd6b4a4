// SPDX-License-Identifier: Apache-2.0

/// A short-lived cache of verdicts on tokens. The tokens themselves are not kept.
struct TokenReviewCache {
    private struct Entry<Content> {
        let content: Content
        let expiry: ContinuousClock.Instant
    }

    /// The lifetime of a good token's verdict: that of the API server's own cache of other authenticators' responses
    /// (`--authentication-token-webhook-cache-ttl`). The token of a deleted pod stays valid for this time.
    private let goodLifetime: Duration
    /// The lifetime of a bad token's verdict: repetitions need no review, and a corrected mistake is soon forgotten.
    private let badLifetime: Duration
    private let maximumGood: Int
    private let maximumBad: Int
    private var good: [TokenDigest: Entry<TokenIdentity>] = [:]
    private var bad: [TokenDigest: Entry<String>] = [:]

    init(
        goodLifetime: Duration = .seconds(120), badLifetime: Duration = .seconds(10), maximumGood: Int = 20_000,
        maximumBad: Int = 10_000
    ) {
        self.goodLifetime = goodLifetime
        self.badLifetime = badLifetime
        self.maximumGood = maximumGood
        self.maximumBad = maximumBad
    }

    /// Returns the remembered verdict on a token; nil without one.
    func verdict(on token: String, now: ContinuousClock.Instant) -> TokenReviewer.Verdict? {
        let digest = TokenDigest(token)
        if let entry = bad[digest], now < entry.expiry { return .denied(entry.content) }
        if let entry = good[digest], now < entry.expiry { return .authenticated(entry.content) }
        return nil
    }

    /// Returns the identity of a token whose last verdict is good, however old, unless that was evicted.
    func lastIdentity(of token: String) -> TokenIdentity? { good[TokenDigest(token)]?.content }

    /// Remembers a verdict. Good and bad tokens have separate limits; at a limit, expired verdicts are evicted first,
    /// then all of that kind.
    ///
    /// - Parameter tokenLifetime: The remaining lifetime of the token itself; nil if it has no expiry.
    mutating func remember(
        _ verdict: TokenReviewer.Verdict, on token: String, tokenLifetime: Duration? = nil, now: ContinuousClock.Instant
    ) {
        let digest = TokenDigest(token)
        good[digest] = nil
        bad[digest] = nil
        switch verdict {
        case .authenticated(let identity):
            Self.makeRoom(&good, maximumGood, now)
            good[digest] = Entry(
                content: identity, expiry: now + min(goodLifetime, max(.zero, tokenLifetime ?? goodLifetime)))
        case .denied(let reason):
            Self.makeRoom(&bad, maximumBad, now)
            bad[digest] = Entry(content: reason, expiry: now + badLifetime)
        }
    }

    private static func makeRoom<Content>(
        _ entries: inout [TokenDigest: Entry<Content>], _ maximum: Int, _ now: ContinuousClock.Instant
    ) {
        if entries.count >= maximum { entries = entries.filter { now < $0.value.expiry } }
        if entries.count >= maximum { entries = [:] }
    }

    /// The number of remembered verdicts.
    var count: Int { good.count + bad.count }
}
