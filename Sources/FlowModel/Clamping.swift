// SPDX-License-Identifier: Apache-2.0

// Arithmetic for displayed numbers: a result beyond the type's bounds is set to the bound, and no operation traps.

extension FixedWidthInteger {
    /// Makes the whole number nearest to a floating-point one, within the type's bounds; 0 for NaN.
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
        // Both terms of a sum that overflows have the same sign.
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
    /// Returns the difference of two durations, within the type's bounds.
    public func clampedSubtracting(_ other: Duration) -> Duration {
        Duration(attoseconds: attoseconds.clampedSubtracting(other.attoseconds))
    }

    /// The duration in seconds, fractions dropped, within the bounds of `Int`.
    public var wholeSeconds: Int { Int(clamping: attoseconds / 1_000_000_000_000_000_000) }

    /// The duration in milliseconds, fractions dropped, within the bounds of `Int`.
    public var milliseconds: Int { Int(clamping: attoseconds / 1_000_000_000_000_000) }

    /// The duration in seconds.
    public var seconds: Double { Double(attoseconds) / 1e18 }

    /// Makes a duration from seconds, within the type's bounds; zero for NaN.
    public init(clampingSeconds seconds: Double) {
        // In two parts, because the attoseconds from 1970 to today have more digits than a Double.
        let whole = Int128(clamping: seconds.rounded(.towardZero))
        let rest = Int128(clamping: (seconds - seconds.rounded(.towardZero)) * 1e18)
        let (attoseconds, isBeyond) = whole.multipliedReportingOverflow(by: 1_000_000_000_000_000_000)
        self.init(attoseconds: isBeyond ? (whole < 0 ? .min : .max) : attoseconds.clampedAdding(rest))
    }
}
