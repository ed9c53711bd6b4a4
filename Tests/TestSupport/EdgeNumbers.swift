// SPDX-License-Identifier: Apache-2.0

/// Numbers of a type at which arithmetic may fail, and random numbers of every size.
public enum EdgeNumbers {
    /// Returns the bounds, their neighbours, powers of two and seeded random numbers.
    public static func integers<Number: FixedWidthInteger & Sendable>(_: Number.Type = Number.self) -> [Number] {
        var generator = SeededGenerator(seed: 4)
        let edges: [Number] = [.min, .min &+ 1, 0, 1, 9, 10, 99, 100, .max &- 1, .max, .max / 2, .max / 2 &+ 1]
        let powers = stride(from: 0, to: Number.bitWidth, by: 3).map { Number(truncatingIfNeeded: 1 as UInt8) << $0 }
        let random = (0..<64).map { Number(truncatingIfNeeded: UInt64.random(in: 0 ... .max, using: &generator)) << $0 }
        return edges + powers + powers.map { ~$0 } + random
    }

    /// Zeros, NaN, infinities, the greatest and least magnitudes, numbers around the bounds of integers, and the
    /// negative of each.
    public static let doubles: [Double] = {
        let positive: [Double] = [
            0, .leastNonzeroMagnitude, 0.05, 0.949, 0.95, 1, 999.5, 1023.95, 0x1p31, 0x1p53, 0x1p63, 0x1p64, 0x1p127,
            0x1p128, 1e30, .greatestFiniteMagnitude, .infinity, .nan, .signalingNaN,
        ]
        return positive + positive.map { -$0 }
    }()

    /// Durations from the shortest to the longest.
    public static let durations: [Duration] =
        integers(Int128.self).map { Duration(attoseconds: $0) } + integers(Int64.self).map { .seconds($0) }
}
