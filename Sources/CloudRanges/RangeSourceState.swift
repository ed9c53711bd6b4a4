// SPDX-License-Identifier: Apache-2.0

internal import Retry

/// The schedule of a source: one attempt per interval after a success, with backoff after failures.
struct RangeSourceState: Sendable {
    /// The state of the source's attempts.
    enum Phase: Equatable, Sendable {
        /// An attempt is due now.
        case due
        /// An attempt is in flight.
        case fetching
        /// The last attempt succeeded; the next one is due then.
        case fresh(until: ContinuousClock.Instant)
        /// The last attempt failed; the next one is due then.
        case failed(until: ContinuousClock.Instant)
    }

    /// A change of state that is worth a log line.
    enum Change: Equatable, Sendable {
        /// The source works for the first time, or again.
        case works
        /// The source fails for the first time, or again.
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

    /// Returns the time of the next attempt: nil while an attempt is in flight, `now` if one is due.
    func nextAttempt(now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        switch phase {
        case .due: now
        case .fetching: nil
        case .fresh(let until), .failed(let until): until
        }
    }

    /// Whether an attempt is due.
    func isDue(at now: ContinuousClock.Instant) -> Bool {
        nextAttempt(now: now).map { $0 <= now } ?? false
    }

    /// Records the start of an attempt.
    mutating func begin() { phase = .fetching }

    /// Records a success. The next attempt is due up to a tenth of the interval early, so that servers started together
    /// do not send their requests together. Returns nil if the attempt before was a success too.
    mutating func succeed(
        at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator
    ) -> Change? {
        backoff.reset()
        phase = .fresh(until: now + interval * Double.random(in: 0.9...1, using: &generator))
        return change(to: .works)
    }

    /// Records a failure; `retryAfter` is the wait that the server asked for, limited to one interval. Returns nil if
    /// the attempt before was a failure too.
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
