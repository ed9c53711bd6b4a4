// SPDX-License-Identifier: Apache-2.0

/// Counts of values in fixed ranges.
public struct Histogram: Equatable, Sendable {
    /// The ranges' inclusive upper bounds in ascending order; values above all of them have a range of their own.
    public let bounds: [UInt64]
    /// The number of values in each range, one more than there are bounds.
    public private(set) var counts: [UInt64]
    /// The sum of all values.
    public private(set) var sum: UInt64

    /// Makes an empty histogram.
    public init(bounds: [UInt64]) {
        self.bounds = bounds
        counts = [UInt64](repeating: 0, count: bounds.count + 1)
        sum = 0
    }

    /// Makes a histogram from its parts; there must be a count for each range.
    public init(bounds: [UInt64], counts: [UInt64], sum: UInt64) {
        precondition(counts.count == bounds.count + 1, "a count for each range")
        self.bounds = bounds
        self.counts = counts
        self.sum = sum
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
        add(UInt64(clamping: duration.milliseconds))
    }
}
