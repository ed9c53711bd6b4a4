// SPDX-License-Identifier: Apache-2.0

/// Merges flows that differ only in their counters.
///
/// A hash table with open addressing and linear probing, at most half full, whose memory is reused for each block.
public struct FlowMerge: Sendable {
    /// Maximum number of slots probed before a flow counts as new: remote peers choose addresses (hash flooding), so
    /// the work is bounded; a flow that is not merged is still stored.
    private static let maximumProbes = 32

    /// For each slot, one more than the index of its flow; zero if the slot is free.
    private var slots: [UInt32] = []

    /// Makes a table that allocates no memory yet.
    public init() {}

    /// Replaces each flow's records with the first of them, which gets the sums of all.
    mutating func merge(_ records: inout [FlowRecord], ipv6Addresses: [UInt128]) {
        var size = 1024
        while size < 2 * records.count { size *= 2 }
        slots.removeAll(keepingCapacity: true)
        slots.append(contentsOf: repeatElement(0, count: size))
        // The records kept so far occupy the indices below `left`, which never pass the record being read.
        var left = 0
        for index in records.indices {
            let record = records[index]
            // A product's upper bits depend on all of the factors' bits.
            var place = Int(
                truncatingIfNeeded: hash(of: record, ipv6Addresses) >> UInt64(size.leadingZeroBitCount + 1))
            var probes = 1
            while slots[place] != 0, !isSame(records[Int(slots[place]) - 1], record, ipv6Addresses),
                probes < Self.maximumProbes
            {
                place = (place + 1) & (size - 1)
                probes += 1
            }
            let known = Int(slots[place]) - 1
            if known >= 0, isSame(records[known], record, ipv6Addresses) {
                records[known].addCounters(of: record)
            } else {
                records[left] = record
                left += 1
                // After `maximumProbes`, the newer flow replaces the one in the slot, since it is more likely to recur.
                slots[place] = UInt32(left)
            }
        }
        records.removeSubrange(left...)
    }

    /// Returns a hash of the fields that identify a flow: multiplications and shifts as in SplitMix64's finalizer, with
    /// another part of the flow mixed in before each.
    private func hash(of record: FlowRecord, _ ipv6Addresses: [UInt128]) -> UInt64 {
        let rest =
            UInt64(record.local.port) << 48 | UInt64(record.remote.port) << 32 | UInt64(record.minute) << 16
            | UInt64(record.transport)
        var hash = folded(record.local, ipv6Addresses) &* 0xbf58_476d_1ce4_e5b9
        hash = (hash ^ (hash >> 32) ^ folded(record.remote, ipv6Addresses)) &* 0x94d0_49bb_1331_11eb
        return (hash ^ (hash >> 29) ^ rest) &* 0x9e37_79b9_7f4a_7c15
    }

    private func folded(_ end: FlowRecord.Endpoint, _ ipv6Addresses: [UInt128]) -> UInt64 {
        guard end.isIPv6 else { return UInt64(end.address) }
        let bits = ipv6Addresses[Int(end.address)]
        return UInt64(truncatingIfNeeded: bits) ^ UInt64(truncatingIfNeeded: bits >> 64)
    }

    private func isSame(_ one: FlowRecord, _ other: FlowRecord, _ ipv6Addresses: [UInt128]) -> Bool {
        one.minute == other.minute && one.transport == other.transport
            && one.hasSameConnection(as: other) && one.service == other.service && one.flags == other.flags
            && isSame(one.local, other.local, ipv6Addresses) && isSame(one.remote, other.remote, ipv6Addresses)
    }

    private func isSame(_ one: FlowRecord.Endpoint, _ other: FlowRecord.Endpoint, _ ipv6Addresses: [UInt128]) -> Bool {
        guard one.labels == other.labels && one.port == other.port && one.isIPv6 == other.isIPv6 else { return false }
        return one.isIPv6
            ? ipv6Addresses[Int(one.address)] == ipv6Addresses[Int(other.address)]
            : one.address == other.address
    }
}
