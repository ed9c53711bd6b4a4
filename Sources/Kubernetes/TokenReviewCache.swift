// SPDX-License-Identifier: Apache-2.0

/// What was said of tokens, for a short while. Tokens themselves are not kept.
struct TokenReviewCache {
    /// A token's trace: 128 bits of SipHash under keys that this process drew at its start and nobody else knows.
    private struct Trace: Hashable {
        let first: Int
        let second: Int

        init(_ token: String) {
            var hasher = Hasher()
            hasher.combine(token)
            first = hasher.finalize()
            hasher = Hasher()
            hasher.combine(true)
            hasher.combine(token)
            second = hasher.finalize()
        }
    }

    private struct Entry {
        let verdict: TokenReviewer.Verdict
        let expiry: ContinuousClock.Instant
    }

    /// How long a good token counts: as the API server itself does with other authenticators' answers
    /// (`--authentication-token-webhook-cache-ttl`). A pod that is deleted keeps its token for so long.
    private let goodLifetime: Duration
    /// How long a bad token counts: a repetition is not asked for, a mistake that was mended is soon forgotten.
    private let badLifetime: Duration
    private let maximumCount: Int
    private var entries: [Trace: Entry] = [:]

    init(
        goodLifetime: Duration = .seconds(120), badLifetime: Duration = .seconds(10), maximumCount: Int = 20_000
    ) {
        self.goodLifetime = goodLifetime
        self.badLifetime = badLifetime
        self.maximumCount = maximumCount
    }

    /// What is remembered of a token; nil where nothing is.
    func verdict(on token: String, now: ContinuousClock.Instant) -> TokenReviewer.Verdict? {
        guard let entry = entries[Trace(token)], now < entry.expiry else { return nil }
        return entry.verdict
    }

    /// Whether the last that was said of a token is that it is good, however long ago, unless that had to make room.
    func wasGood(_ token: String) -> Bool {
        if case .authenticated = entries[Trace(token)]?.verdict { true } else { false }
    }

    /// Remembers what was said. Where there is no room, what is over is forgotten, then bad tokens, then all.
    mutating func remember(_ verdict: TokenReviewer.Verdict, on token: String, now: ContinuousClock.Instant) {
        if entries.count >= maximumCount { entries = entries.filter { now < $0.value.expiry } }
        if entries.count >= maximumCount {
            entries = entries.filter { if case .authenticated = $0.value.verdict { true } else { false } }
        }
        if entries.count >= maximumCount { entries = [:] }
        let lifetime = if case .authenticated = verdict { goodLifetime } else { badLifetime }
        entries[Trace(token)] = Entry(verdict: verdict, expiry: now + lifetime)
    }

    /// How many tokens something is remembered of.
    var count: Int { entries.count }
}
