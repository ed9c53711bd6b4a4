// SPDX-License-Identifier: Apache-2.0

import KubernetesAPI
import Testing

@testable import KubenetmonServer

@Suite struct WatchRemarkTests {
    /// A watch that was listed and told something so many seconds ago.
    private func statistics(silence: Int, isWatching: Bool, error: String? = nil) -> ReflectorStatistics {
        var statistics = ReflectorStatistics()
        statistics.isSynced = true
        statistics.lastProgress = .now - .seconds(silence)
        statistics.watchingSince = isWatching ? .now - .seconds(silence) : nil
        statistics.lastError = error
        return statistics
    }

    @Test func aWatchThatWorksIsNotRemarkedUpon() {
        #expect(statistics(silence: 75, isWatching: true).remark(on: "pods") == nil)
        // One watch has ended and the next has not begun, or has begun after a failure.
        #expect(statistics(silence: 75, isWatching: false).remark(on: "pods") == nil)
        #expect(statistics(silence: 75, isWatching: true, error: "refused").remark(on: "pods") == nil)
    }

    @Test func aWatchThatIsRefusedIsNamedWithTheReason() {
        #expect(
            statistics(silence: 5, isWatching: false, error: "401 Unauthorized").remark(on: "pods")
                == "pods are not watched: 401 Unauthorized")
    }

    @Test func aWatchThatIsSilentIsNamed() {
        #expect(
            statistics(silence: 130, isWatching: true).remark(on: "nodes")
                == "nodes are as they were 130 s ago: the watch is silent")
    }

    /// It is told why the server is not ready, which is another line.
    @Test func whatWasNeverListedIsNotRemarkedUpon() {
        #expect(ReflectorStatistics().remark(on: "pods") == nil)
    }
}
