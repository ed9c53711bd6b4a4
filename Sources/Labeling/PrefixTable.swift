// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// A table for longest-prefix matching: the smallest block that contains an address determines the address's value.
///
/// The nested blocks are split into disjoint intervals once, when the table is made. A look-up uses the address's first
/// bits to find the few intervals that share them, and ends with a short binary search.
struct PrefixTable<Value: Sendable>: Sendable {
    private let values: [Value]
    private let ipv4: IntervalTable<UInt32>
    private let ipv6: IntervalTable<UInt128>

    /// Makes a table. Where a block is listed twice, its last value counts.
    init(_ entries: [(prefix: IPPrefix, value: Value)]) {
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

    /// Returns the value of the longest prefix that contains `address`; nil if none does.
    func value(for address: IPAddress) -> Value? {
        let index = index(for: address)
        return index >= 0 ? values[Int(index)] : nil
    }

    /// Returns the index of the entry with the longest prefix that contains `address`, in the order in which the table
    /// was made; -1 if none does. It does not access the values.
    func index(for address: IPAddress) -> Int32 {
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

    /// The first key of each interval, which ends before the next interval. The first interval begins at zero.
    private var starts: [Key] = [0]
    /// The index of the interval's value; -1 if no block covers the interval.
    private var values: [Int32] = [-1]
    /// For each value of a key's first bits, the interval that contains the lowest key with these bits; then the last
    /// interval again.
    private var firstIntervals: [Int32] = []
    /// The right shift that leaves a key's first bits.
    private let shift: Int

    init(_ blocks: [Block]) {
        // Outer blocks come before the blocks they contain; equal blocks keep their order.
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
        // The number of values of the first bits is about the number of intervals, so that a small table stays small.
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

    /// Returns the index of the value at `key`; -1 if there is none.
    func value(at key: Key) -> Int32 {
        let firstBits = Int(truncatingIfNeeded: key >> Key(shift))
        var low = Int(firstIntervals[firstBits])
        var count = Int(firstIntervals[firstBits + 1]) - low + 1
        // The interval is one of `count` intervals from `low` on. The loop does not branch on the comparison, because
        // the branch would be mispredicted half of the time.
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
