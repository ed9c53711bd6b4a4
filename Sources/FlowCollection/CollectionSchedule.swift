// SPDX-License-Identifier: Apache-2.0

/// When collections happen: once an interval, at a phase of it that a node keeps for ever and that differs from node to
/// node, so that agents that start together do not collect together.
package struct CollectionSchedule: Sendable {
    private let interval: Duration
    private let phase: Duration

    /// Makes the schedule of a node.
    package init(interval: Duration, nodeName: String) {
        self.interval = interval
        phase = interval * (Double(Self.hash(nodeName)) / Double(UInt32.max))
    }

    /// The time from a moment, given as the time since the Unix epoch, to the next collection: above zero and at most an
    /// interval.
    package func delay(after now: Duration) -> Duration {
        let passed = (now - phase) / interval
        return interval * (1 - (passed - passed.rounded(.down)))
    }

    /// FNV-1a of the name: the same in every process, unlike Swift's hashes.
    private static func hash(_ name: String) -> UInt32 {
        name.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
    }
}
