// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// A map from addresses to numbers.
struct AddressTable: Sendable {
    private var ipv4 = OpenTable<UInt32>()
    private var ipv6 = OpenTable<UInt128>()

    var count: Int { ipv4.count + ipv6.count }

    /// Whether the table has room for `addresses` more before it grows.
    func hasRoom(for addresses: Int) -> Bool { ipv4.hasRoom(for: addresses) && ipv6.hasRoom(for: addresses) }

    /// Grows the table until it has room for `addresses` more.
    mutating func makeRoom(for addresses: Int) {
        ipv4.makeRoom(for: addresses)
        ipv6.makeRoom(for: addresses)
    }

    /// The number of an address; nil removes the address.
    subscript(address: IPAddress) -> Int32? {
        get {
            if let v4 = address.v4 { return ipv4[v4] }
            return ipv6[address.bits]
        }
        set {
            if let v4 = address.v4 { ipv4[v4] = newValue } else { ipv6[address.bits] = newValue }
        }
    }
}

/// A hash table with open addressing and linear probing, key beside value: a look-up touches one cache line as a rule.
private struct OpenTable<Key: FixedWidthInteger & UnsignedInteger & Sendable>: Sendable {
    private struct Slot: Sendable {
        var key: Key = 0
        /// Negative if the slot is free.
        var value: Int32 = -1
    }

    private(set) var count = 0
    private var slots = ContiguousArray(repeating: Slot(), count: 16)
    /// Random hash seed: remote peers choose the addresses that are looked up here (hash flooding).
    private let seed = UInt64.random(in: 0 ... .max)

    private var mask: Int { slots.count - 1 }

    /// Returns the slot at which the search for a key begins: the upper bits of a product (Fibonacci hashing).
    private func home(of key: Key) -> Int {
        let folded = UInt64(truncatingIfNeeded: key) ^ UInt64(truncatingIfNeeded: key >> (Key.bitWidth / 2))
        let mixed = (folded ^ seed) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: (mixed ^ (mixed >> 29)) >> 16) & mask
    }

    /// Returns the slot of a key, or the free slot where the key would go.
    private func slot(of key: Key) -> Int {
        var index = home(of: key)
        while slots[index].value >= 0, slots[index].key != key { index = (index + 1) & mask }
        return index
    }

    subscript(key: Key) -> Int32? {
        get {
            let value = slots[slot(of: key)].value
            return value >= 0 ? value : nil
        }
        set {
            if let newValue { insert(newValue, for: key) } else { remove(key) }
        }
    }

    func hasRoom(for keys: Int) -> Bool { (count + keys) * 2 <= slots.count }

    mutating func makeRoom(for keys: Int) {
        while !hasRoom(for: keys) { grow() }
    }

    private mutating func insert(_ value: Int32, for key: Key) {
        precondition(value >= 0, "a slot's value is never negative")
        var index = slot(of: key)
        if slots[index].value < 0 {
            if (count + 1) * 2 > slots.count {
                grow()
                index = slot(of: key)
            }
            count += 1
        }
        slots[index] = Slot(key: key, value: value)
    }

    /// Frees a slot, and moves entries after it forward into the hole, so that no search ends early.
    private mutating func remove(_ key: Key) {
        var hole = slot(of: key)
        guard slots[hole].value >= 0 else { return }
        count -= 1
        var index = hole
        while true {
            index = (index + 1) & mask
            guard slots[index].value >= 0 else { break }
            let distanceFromHome = (index - home(of: slots[index].key)) & mask
            if distanceFromHome >= (index - hole) & mask {
                slots[hole] = slots[index]
                hole = index
            }
        }
        slots[hole] = Slot()
    }

    private mutating func grow() {
        let old = slots
        slots = ContiguousArray(repeating: Slot(), count: old.count * 2)
        for moved in old where moved.value >= 0 { slots[slot(of: moved.key)] = moved }
    }
}
