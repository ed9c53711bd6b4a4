// SPDX-License-Identifier: Apache-2.0

/// Numbers for things that are told apart by their place in memory: a hash table with open addressing and linear probing,
/// at most half full. A look-up is a multiplication and mostly one comparison.
struct EndpointNumbers: Sendable {
    private struct Slot {
        /// Zero where the slot is free: nothing is at address zero.
        var identity: UInt = 0
        var number: UInt32 = 0
    }

    private static let initialSlots = 1024

    private var slots = [Slot](repeating: Slot(), count: Self.initialSlots)
    private var count = 0

    /// The table's memory in bytes.
    var memoryBytes: Int { slots.capacity * MemoryLayout<Slot>.stride }

    /// The number of `identity`; where it has none yet, it gets what `assign` returns.
    mutating func number(of identity: UInt, _ assign: () -> UInt32) -> UInt32 {
        var index = home(of: identity)
        while slots[index].identity != 0 {
            if slots[index].identity == identity { return slots[index].number }
            index = (index + 1) & (slots.count - 1)
        }
        let number = assign()
        slots[index] = Slot(identity: identity, number: number)
        count += 1
        if count * 2 > slots.count { grow() }
        return number
    }

    /// Forgets all of them.
    mutating func removeAll() {
        for index in slots.indices { slots[index] = Slot() }
        count = 0
    }

    /// Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): the product's upper bits.
    private func home(of identity: UInt) -> Int {
        let product = UInt64(identity) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: product >> UInt64(slots.count.leadingZeroBitCount + 1))
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(), count: old.count * 2)
        for slot in old where slot.identity != 0 {
            var index = home(of: slot.identity)
            while slots[index].identity != 0 { index = (index + 1) & (slots.count - 1) }
            slots[index] = slot
        }
    }
}
