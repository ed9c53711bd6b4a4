// SPDX-License-Identifier: Apache-2.0

/// Verdicts on tokens, for a short while. Tokens themselves are not kept.
struct TokenReviewCache {
    private struct Entry<Content> {
        let content: Content
        let expiry: ContinuousClock.Instant
    }

    /// How long a good token counts: as the API server itself does with other authenticators' answers
    /// (`--authentication-token-webhook-cache-ttl`). A pod that is deleted keeps its token for so long.
    private let goodLifetime: Duration
    /// How long a bad token counts: a repetition is not asked for, a mistake that was mended is soon forgotten.
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

    /// Returns what is remembered of a token; nil where nothing is.
    func verdict(on token: String, now: ContinuousClock.Instant) -> TokenReviewer.Verdict? {
        let digest = TokenDigest(token)
        if let entry = bad[digest], now < entry.expiry { return .denied(entry.content) }
        if let entry = good[digest], now < entry.expiry { return .authenticated(entry.content) }
        return nil
    }

    /// Returns whose a token is where the last that was said of it is that it is good, however long ago, unless that had to
    /// make room.
    func lastIdentity(of token: String) -> TokenIdentity? { good[TokenDigest(token)]?.content }

    /// Remembers a verdict. Good and bad tokens have room of their own; where there is none, what is over is forgotten,
    /// then all of the kind.
    ///
    /// - Parameter tokenLifetime: Time for which the token itself still counts; nil where it does not say.
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

    /// The number of tokens of which something is remembered.
    var count: Int { good.count + bad.count }
}
