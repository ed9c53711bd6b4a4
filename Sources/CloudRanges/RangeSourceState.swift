// SPDX-License-Identifier: Apache-2.0

internal import Retry

/// When a source is asked next: once an interval while all is well, with back-off while it is not.
struct RangeSourceState: Sendable {
    /// What is under way.
    enum Phase: Equatable, Sendable {
        /// It is to be asked now.
        case due
        /// It is being asked.
        case fetching
        /// It answered; it is asked again then.
        case fresh(until: ContinuousClock.Instant)
        /// It failed; it is asked again then.
        case failed(until: ContinuousClock.Instant)
    }

    /// What a person would want to hear of.
    enum Change: Equatable, Sendable {
        /// It works for the first time, or again.
        case works
        /// It fails for the first time, or again.
        case fails
    }

    private(set) var phase = Phase.due
    private let interval: Duration
    private var backoff: Backoff
    private var lastChange: Change?

    /// Makes a state in which the source is due.
    init(interval: Duration, backoff: Backoff) {
        self.interval = interval
        self.backoff = backoff
    }

    /// When it is to be asked; nil where it is being asked, and the past where it is due.
    func nextAttempt(now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        switch phase {
        case .due: now
        case .fetching: nil
        case .fresh(let until), .failed(let until): until
        }
    }

    /// Whether it is to be asked now.
    func isDue(at now: ContinuousClock.Instant) -> Bool {
        nextAttempt(now: now).map { $0 <= now } ?? false
    }

    /// It is being asked.
    mutating func begin() { phase = .fetching }

    /// It answered. The next time is up to a tenth of the interval earlier, so that many servers that were started together
    /// do not ask together. The result is nil where the attempt before was a success too.
    mutating func succeed(
        at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator
    ) -> Change? {
        backoff.reset()
        phase = .fresh(until: now + interval * Double.random(in: 0.9...1, using: &generator))
        return change(to: .works)
    }

    /// It failed; `retryAfter` is how long it wants to be left alone, and no more than an interval. The result is nil
    /// where the attempt before was a failure too.
    mutating func fail(
        at now: ContinuousClock.Instant, retryAfter: Duration? = nil,
        using generator: inout some RandomNumberGenerator
    ) -> Change? {
        let wait = max(backoff.next(using: &generator), min(retryAfter ?? .zero, interval))
        phase = .failed(until: now + wait)
        return change(to: .fails)
    }

    private mutating func change(to change: Change) -> Change? {
        defer { lastChange = change }
        return lastChange == change ? nil : change
    }
}
