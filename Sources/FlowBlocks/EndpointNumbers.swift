// SPDX-License-Identifier: Apache-2.0

/// Numbers for objects identified by their memory address: a hash table with open addressing and linear probing, at
/// most half full. A lookup is a multiplication and mostly one comparison.
struct EndpointNumbers: Sendable {
    private struct Slot {
        /// Zero if the slot is free: no object is at address zero.
        var identity: UInt = 0
        var number: UInt32 = 0
    }

    private static let initialSlots = 1024

    private var slots = [Slot](repeating: Slot(), count: Self.initialSlots)
    private var count = 0

    /// The table's memory in bytes.
    var memoryBytes: Int { slots.capacity * MemoryLayout<Slot>.stride }

    /// Returns the number of `identity`, which is the result of `assign` if it has none yet.
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

    /// Removes all numbers.
    mutating func removeAll() {
        for index in slots.indices { slots[index] = Slot() }
        count = 0
    }

    /// Returns the first slot to probe: the upper bits of the product of Fibonacci hashing (Knuth, The Art of Computer
    /// Programming, volume 3, section 6.4).
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
