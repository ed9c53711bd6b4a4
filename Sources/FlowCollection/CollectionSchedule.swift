// SPDX-License-Identifier: Apache-2.0

/// The times of collections: once per interval, at a phase that is fixed for a node and differs between nodes, so that
/// agents that start together do not collect together.
package struct CollectionSchedule: Sendable {
    private let interval: Duration
    private let phase: Duration

    /// Makes a node's schedule.
    package init(interval: Duration, nodeName: String) {
        self.interval = interval
        phase = interval * (Double(Self.hash(nodeName)) / Double(UInt32.max))
    }

    /// Returns the delay from `now`, a time since the Unix epoch, to the next collection: above zero and at most one
    /// interval.
    package func delay(after now: Duration) -> Duration {
        let passed = (now - phase) / interval
        return interval * (1 - (passed - passed.rounded(.down)))
    }

    /// Returns the FNV-1a hash of the name, which is the same in every process, unlike Swift's hashes.
    private static func hash(_ name: String) -> UInt32 {
        name.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
    }
}
