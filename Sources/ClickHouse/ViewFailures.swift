// SPDX-License-Identifier: Apache-2.0

/// The time for which materialized views have been failing for a batch, by failure class.
struct ViewFailures: Sendable {
    /// Time limits for retries after failures of views; after them, a batch is sent without those views.
    struct Limits: Equatable, Sendable {
        /// The limit for a broken view: long enough for one that is being replaced.
        var broken = Duration.seconds(10)
        /// The limit for failures that pass by themselves, such as a lack of memory: the time of a restart or of merges
        /// that catch up.
        var passing = Duration.seconds(600)

        subscript(_ failureClass: FailureClass) -> Duration { failureClass == .transient ? passing : broken }
    }

    /// The last failure of each class since the last pause.
    private var last: [FailureClass: ContinuousClock.Instant] = [:]
    private var durations: [FailureClass: Duration] = [:]

    /// Records a failure and returns the time for which failures of its class have lasted, without pauses.
    mutating func record(_ failureClass: FailureClass, at now: ContinuousClock.Instant) -> Duration {
        let duration = durations[failureClass, default: .zero] + (now - (last[failureClass] ?? now))
        (last[failureClass], durations[failureClass]) = (now, duration)
        return duration
    }

    /// Stops the clock until a view's next failure, since ClickHouse itself rejects the batch.
    mutating func pause() { last = [:] }
}
