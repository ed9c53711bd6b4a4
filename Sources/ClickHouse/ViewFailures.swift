// SPDX-License-Identifier: Apache-2.0

/// How long materialized views have been failing, by what can mend it.
struct ViewFailures: Sendable {
    /// How long failures of views are waited out before a batch goes without them.
    struct Limits: Equatable, Sendable {
        /// For a view that is broken: long enough for one that is being replaced.
        var broken = Duration.seconds(10)
        /// For what passes by itself, such as a lack of memory: the time of a restart or of merges that catch up.
        var passing = Duration.seconds(600)

        subscript(_ failureClass: FailureClass) -> Duration { failureClass == .transient ? passing : broken }
    }

    private var begun: [FailureClass: ContinuousClock.Instant] = [:]

    /// Records a failure and returns the time since the first one of its class.
    mutating func record(_ failureClass: FailureClass, at now: ContinuousClock.Instant) -> Duration {
        let first = begun[failureClass] ?? now
        begun[failureClass] = first
        return now - first
    }
}
