// SPDX-License-Identifier: Apache-2.0

/// How many durations fell into which of a fixed set of ranges.
public struct MillisecondHistogram: Equatable, Sendable {
    /// The ranges' upper bounds in milliseconds, included; what is longer than all of them has a range of its own.
    public static let bounds: [UInt64] = [
        5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 600_000,
    ]

    /// How many durations were in each range, one more than there are bounds.
    public private(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
    /// The sum of all durations in milliseconds.
    public private(set) var sum: UInt64 = 0

    /// Nothing has been measured.
    public init() {}

    /// Adds a duration.
    public mutating func add(_ duration: Duration) {
        let milliseconds = UInt64(max(0, duration / .milliseconds(1)))
        counts[Self.bounds.firstIndex { milliseconds <= $0 } ?? Self.bounds.count] += 1
        sum += milliseconds
    }
}
