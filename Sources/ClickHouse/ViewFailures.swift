// SPDX-License-Identifier: Apache-2.0

/// How long materialized views have been failing for a batch, by what can mend it.
struct ViewFailures: Sendable {
    /// How long failures of views are waited out before a batch goes without them.
    struct Limits: Equatable, Sendable {
        /// For a view that is broken: long enough for one that is being replaced.
        var broken = Duration.seconds(10)
        /// For what passes by itself, such as a lack of memory: the time of a restart or of merges that catch up.
        var passing = Duration.seconds(600)

        subscript(_ failureClass: FailureClass) -> Duration { failureClass == .transient ? passing : broken }
    }

    /// The last failure of each class since the views' clock was paused.
    private var last: [FailureClass: ContinuousClock.Instant] = [:]
    private var durations: [FailureClass: Duration] = [:]

    /// Records a failure and returns for how long failures of its class have lasted, without the time of pauses.
    mutating func record(_ failureClass: FailureClass, at now: ContinuousClock.Instant) -> Duration {
        let duration = durations[failureClass, default: .zero] + (now - (last[failureClass] ?? now))
        (last[failureClass], durations[failureClass]) = (now, duration)
        return duration
    }

    /// Stops the clock until a view's next failure: ClickHouse itself does not take the batch.
    mutating func pause() { last = [:] }
}
