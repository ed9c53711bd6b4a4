// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Counts of values in fixed ranges.
public struct Histogram: Equatable, Sendable {
    /// Bounds for durations in milliseconds.
    public static let milliseconds: [UInt64] = [
        5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 600_000,
    ]
    /// Bounds for the rows of an insert.
    public static let rows: [UInt64] = [1, 10, 100, 1_000, 2_500, 5_000, 10_000, 15_000, 25_000, 50_000, 100_000]

    /// The ranges' inclusive upper bounds in ascending order; values above all of them have a range of their own.
    public let bounds: [UInt64]
    /// The number of values in each range, one more than there are bounds.
    public private(set) var counts: [UInt64]
    /// The sum of all values.
    public private(set) var sum: UInt64 = 0

    /// Makes an empty histogram.
    public init(bounds: [UInt64]) {
        self.bounds = bounds
        counts = [UInt64](repeating: 0, count: bounds.count + 1)
    }

    /// The number of all values.
    public var count: UInt64 { counts.clampedSum }

    /// Adds a value.
    public mutating func add(_ value: UInt64) {
        counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum = sum.clampedAdding(value)
    }

    /// Adds a duration in milliseconds.
    public mutating func add(_ duration: Duration) {
        add(UInt64(clamping: duration.attoseconds / 1_000_000_000_000_000))
    }
}
