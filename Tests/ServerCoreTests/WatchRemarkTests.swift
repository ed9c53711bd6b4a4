// SPDX-License-Identifier: Apache-2.0

import KubernetesAPI
import Testing

import ServerCore

@Suite struct WatchRemarkTests {
    /// Returns the statistics of a watch that has been listed and made its last progress the given number of seconds
    /// ago.
    private func statistics(silence: Int, isWatching: Bool, error: String? = nil) -> ReflectorStatistics {
        var statistics = ReflectorStatistics()
        statistics.isSynced = true
        statistics.lastProgress = .now - .seconds(silence)
        statistics.watchingSince = isWatching ? .now - .seconds(silence) : nil
        statistics.lastError = error
        return statistics
    }

    @Test("a working watch has no remark") func aWatchThatWorksIsNotRemarkedUpon() {
        #expect(statistics(silence: 75, isWatching: true).remark(on: "pods") == nil)
        // Between two watches, or in a new watch after a failure.
        #expect(statistics(silence: 75, isWatching: false).remark(on: "pods") == nil)
        #expect(statistics(silence: 75, isWatching: true, error: "refused").remark(on: "pods") == nil)
    }

    @Test("a rejected watch is named with the reason") func aWatchThatIsRefusedIsNamedWithTheReason() {
        #expect(
            statistics(silence: 5, isWatching: false, error: "401 Unauthorized").remark(on: "pods")
                == "pods are not watched: 401 Unauthorized")
    }

    @Test("a silent watch is named") func aWatchThatIsSilentIsNamed() {
        #expect(
            statistics(silence: 130, isWatching: true).remark(on: "nodes")
                == "nodes may be stale: nothing received for 130 s")
    }

    /// Readiness reports a resource that was never listed, in a line of its own.
    @Test("a resource that was never listed has no remark") func whatWasNeverListedIsNotRemarkedUpon() {
        #expect(ReflectorStatistics().remark(on: "pods") == nil)
    }
}
