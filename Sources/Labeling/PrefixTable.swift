// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Longest prefix match: of all blocks that hold an address, the value of the smallest.
///
/// The nested blocks are cut into disjoint intervals once, when the table is made; a look-up goes by the address's first
/// bits to the few intervals that share them, and is a short binary search there.
public struct PrefixTable<Value: Sendable>: Sendable {
    private let values: [Value]
    private let ipv4: IntervalTable<UInt32>
    private let ipv6: IntervalTable<UInt128>

    /// Makes a table. Where a block is listed twice, its last value counts.
    public init(_ entries: [(prefix: IPPrefix, value: Value)]) {
        values = entries.map(\.value)
        var ipv4: [IntervalTable<UInt32>.Block] = []
        var ipv6: [IntervalTable<UInt128>.Block] = []
        for (index, entry) in entries.enumerated() {
            if let first = entry.prefix.network.v4, let last = entry.prefix.last.v4 {
                ipv4.append(.init(first: first, last: last, value: Int32(index)))
            } else {
                ipv6.append(
                    .init(first: entry.prefix.network.bits, last: entry.prefix.last.bits, value: Int32(index)))
            }
        }
        self.ipv4 = IntervalTable(ipv4)
        self.ipv6 = IntervalTable(ipv6)
    }

    /// The value of the longest prefix that holds `address`, nil where none does.
    public func value(for address: IPAddress) -> Value? {
        let index = index(for: address)
        return index >= 0 ? values[Int(index)] : nil
    }

    /// Which of the entries that the table was made of has the longest prefix that holds `address`, counted from zero;
    /// -1 where none does. It touches no value.
    public func index(for address: IPAddress) -> Int32 {
        address.v4.map(ipv4.value(at:)) ?? ipv6.value(at: address.bits)
    }
}

/// Disjoint intervals over all numbers of a type, each with the value of the smallest block that covers it.
private struct IntervalTable<Key: FixedWidthInteger & UnsignedInteger & Sendable>: Sendable {
    struct Block {
        let first: Key
        let last: Key
        let value: Int32
    }

    /// Where each interval begins; it ends before the next. The first begins at zero.
    private var starts: [Key] = [0]
    /// Index of the interval's value, -1 where no block covers it.
    private var values: [Int32] = [-1]
    /// For each value that a key's first bits can have, the interval that holds the lowest such key; then the last
    /// interval once more.
    private var firstIntervals: [Int32] = []
    /// How far a key is moved to the right to leave its first bits.
    private let shift: Int

    init(_ blocks: [Block]) {
        // An outer block comes before those that it holds, equal blocks in their given order.
        let sorted = blocks.enumerated().sorted { left, right in
            if left.element.first != right.element.first { return left.element.first < right.element.first }
            if left.element.last != right.element.last { return left.element.last > right.element.last }
            return left.offset < right.offset
        }
        var enclosing: [Block] = []
        var (starts, values) = (self.starts, self.values)
        func begin(at start: Key, value: Int32) {
            if starts[starts.count - 1] == start {
                values[values.count - 1] = value
            } else {
                starts.append(start)
                values.append(value)
            }
        }
        /// Ends the innermost block: what follows belongs to the block around it.
        func leave() {
            let left = enclosing.removeLast()
            guard left.last < Key.max else { return }
            begin(at: left.last + 1, value: enclosing.last?.value ?? -1)
        }
        for (_, block) in sorted {
            while let innermost = enclosing.last, innermost.last < block.first { leave() }
            begin(at: block.first, value: block.value)
            enclosing.append(block)
        }
        while !enclosing.isEmpty { leave() }
        // About as many as there are intervals, so that a small table stays small.
        let firstBits = min(16, max(1, (starts.count - 1).bitWidth - (starts.count - 1).leadingZeroBitCount))
        shift = Key.bitWidth - firstBits
        firstIntervals.reserveCapacity(1 << firstBits + 1)
        var interval = 0
        for bits in 0..<Key(1) << Key(firstBits) {
            while interval + 1 < starts.count, starts[interval + 1] <= bits << Key(shift) { interval += 1 }
            firstIntervals.append(Int32(interval))
        }
        firstIntervals.append(Int32(starts.count - 1))
        (self.starts, self.values) = (starts, values)
    }

    /// The index of the value at `key`, -1 where there is none.
    func value(at key: Key) -> Int32 {
        let firstBits = Int(truncatingIfNeeded: key >> Key(shift))
        var low = Int(firstIntervals[firstBits])
        var count = Int(firstIntervals[firstBits + 1]) - low + 1
        // The interval is one of `count` from `low` on. Halving without a branch on the comparison: what it would guess
        // is as often wrong as not.
        starts.withUnsafeBufferPointer { starts in
            while count > 1 {
                let half = count / 2
                low &+= starts[low &+ half] <= key ? half : 0
                count -= half
            }
        }
        return values[low]
    }
}
