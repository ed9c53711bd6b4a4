// SPDX-License-Identifier: Apache-2.0

// Arithmetic for numbers that are shown: the result stays at the type's bounds where the exact one is beyond them, and no
// operation traps.

extension FixedWidthInteger {
    /// The whole number nearest to a floating-point one; 0 for NaN.
    public init(clamping value: Double) {
        let whole = value.rounded()
        if let exact = Self(exactly: whole) {
            self = exact
        } else if whole.isNaN {
            self = 0
        } else {
            self = whole < 0 ? .min : .max
        }
    }

    /// Returns the sum of two numbers.
    public func clampedAdding(_ other: Self) -> Self {
        let (sum, isBeyond) = addingReportingOverflow(other)
        // A sum passes a bound only in the direction of both of its terms.
        return isBeyond ? (other < 0 ? .min : .max) : sum
    }

    /// Returns the difference of two numbers.
    public func clampedSubtracting(_ other: Self) -> Self {
        let (difference, isBeyond) = subtractingReportingOverflow(other)
        return isBeyond ? (self < other ? .min : .max) : difference
    }
}

extension Sequence where Element: FixedWidthInteger {
    /// The sum of all numbers.
    public var clampedSum: Element { reduce(0) { $0.clampedAdding($1) } }
}

extension Duration {
    /// Returns the difference of two durations; the longest or shortest there is where the exact one is beyond that.
    public func clampedSubtracting(_ other: Duration) -> Duration {
        Duration(attoseconds: attoseconds.clampedSubtracting(other.attoseconds))
    }

    /// The duration in seconds, fractions dropped, within the bounds of `Int`.
    public var wholeSeconds: Int { Int(clamping: attoseconds / 1_000_000_000_000_000_000) }

    /// Makes a duration of seconds, within the type's bounds; zero for NaN.
    public init(clampingSeconds seconds: Double) {
        // In two parts: attoseconds of today's date would have more digits than a Double.
        let whole = Int128(clamping: seconds.rounded(.towardZero))
        let rest = Int128(clamping: (seconds - seconds.rounded(.towardZero)) * 1e18)
        let (attoseconds, isBeyond) = whole.multipliedReportingOverflow(by: 1_000_000_000_000_000_000)
        self.init(attoseconds: isBeyond ? (whole < 0 ? .min : .max) : attoseconds.clampedAdding(rest))
    }
}
