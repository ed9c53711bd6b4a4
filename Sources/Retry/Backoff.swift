// SPDX-License-Identifier: Apache-2.0

/// The wait before the next attempt: exponential growth with full jitter, so that clients that failed together do not
/// retry together ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
///
/// All of the daemons' backoffs are presets, in Backoff+Presets.swift.
public struct Backoff: Equatable, Sendable {
    /// The upper bound of the first wait.
    public let initial: Duration
    /// The upper bound of every wait.
    public let maximum: Duration
    /// Failures since the last success.
    public private(set) var failures = 0

    /// Makes a backoff without failures. Internal, so that every backoff has a name and a reason beside the others.
    init(initial: Duration, maximum: Duration) {
        self.initial = initial
        self.maximum = maximum
    }

    /// Counts a failure and draws the wait before the next attempt: between a tenth of the bound and the bound, which
    /// doubles with every failure.
    public mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        var bound = initial
        for _ in 0..<failures where bound < maximum { bound *= 2 }
        failures += 1
        return min(bound, maximum) * Double.random(in: 0.1...1, using: &generator)
    }

    /// Counts a failure and draws the wait before the next attempt.
    public mutating func next() -> Duration {
        var generator = SystemRandomNumberGenerator()
        return next(using: &generator)
    }

    /// Resets the count of failures after a successful attempt.
    public mutating func reset() { failures = 0 }
}
