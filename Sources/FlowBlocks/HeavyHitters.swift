// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The heaviest keys of a stream, in bounded memory.
///
/// A Misra-Gries summary with bulk deletions (Anderson and others, "A High-Performance Algorithm for Identifying
/// Frequent Items in Data Streams", 2017): when the table is full, a weight that three quarters of the keys do not
/// exceed is subtracted from each key, and keys without remaining weight are removed. Each deletion subtracts at least
/// four fifths of that weight from at least a quarter of the table, so that all deletions together subtract from a key
/// at most five times the stream's weight divided by ``capacity``, about a 400th of it: heavier keys are always
/// present.
///
/// A hash table with open addressing and linear probing, at most half full.
struct HeavyHitters: Sendable {
    /// The maximum number of keys.
    static let capacity = 2048
    private static let slotBits = 12

    private struct Slot {
        /// Zero if the slot is free.
        var key: UInt64 = 0
        var weight: UInt64 = 0
    }

    private var slots = Self.freeSlots
    private var count = 0
    /// The weight of the whole stream.
    private(set) var total: UInt64 = 0
    /// The maximum by which a key's recorded weight may be too low; also the maximum weight of an absent key.
    private(set) var error: UInt64 = 0

    private static let freeSlots = [Slot](repeating: Slot(), count: 1 << slotBits)

    /// The keys that are present, each with a lower bound of its weight, in no order.
    var entries: [(key: UInt64, weight: UInt64)] {
        slots.compactMap { $0.key == 0 ? nil : ($0.key, $0.weight) }
    }

    /// Adds a weight to a key, which must not be zero.
    mutating func add(_ weight: UInt64, to key: UInt64) {
        total = total.clampedAdding(weight)
        if insert(weight, key), count == Self.capacity { makeRoom() }
    }

    /// Adds a weight to a key and returns whether the key is new.
    private mutating func insert(_ weight: UInt64, _ key: UInt64) -> Bool {
        var place = Self.home(of: key)
        while slots[place].key != key {
            if slots[place].key == 0 {
                slots[place] = Slot(key: key, weight: weight)
                count += 1
                return true
            }
            place = (place + 1) & ((1 << Self.slotBits) - 1)
        }
        slots[place].weight = slots[place].weight.clampedAdding(weight)
        return false
    }

    private mutating func makeRoom() {
        let full = slots
        let share = dispensableWeight
        slots = Self.freeSlots
        count = 0
        error = error.clampedAdding(share)
        for slot in full where slot.weight > share { _ = insert(slot.weight - share, slot.key) }
    }

    /// A weight that at least three quarters of the keys do not exceed, while at least a quarter have four fifths of
    /// it: the upper quartile, rounded up to the next quarter of an octave. Counting by quarters takes a tenth of the
    /// time of a sort.
    private var dispensableWeight: UInt64 {
        var counts = [Int](repeating: 0, count: 256)
        for slot in slots where slot.key != 0 { counts[Self.quarter(of: slot.weight)] += 1 }
        var (quarter, below) = (0, counts[0])
        while below < Self.capacity / 4 * 3 {
            quarter += 1
            below += counts[quarter]
        }
        return Self.greatestWeight(ofQuarter: quarter)
    }

    /// Returns the quarter of an octave that a weight falls into. Octaves are powers of two; weights below four, the
    /// lowest two octaves, have a quarter each.
    private static func quarter(of weight: UInt64) -> Int {
        guard weight >= 4 else { return Int(weight) }
        let octave = 63 - weight.leadingZeroBitCount
        return (octave - 1) << 2 | Int(weight >> UInt64(octave - 2) & 3)
    }

    private static func greatestWeight(ofQuarter quarter: Int) -> UInt64 {
        guard quarter >= 4 else { return UInt64(quarter) }
        let rest = UInt64(quarter >> 2 - 1)
        return (UInt64(quarter & 3) + 4) << rest + (1 << rest - 1)
    }

    /// Returns the first slot to probe: the upper bits of the product of Fibonacci hashing (Knuth, The Art of Computer
    /// Programming, volume 3, section 6.4).
    private static func home(of key: UInt64) -> Int {
        Int(truncatingIfNeeded: ((key ^ key >> 32) &* 0x9e37_79b9_7f4a_7c15) >> UInt64(64 - slotBits))
    }
}
