// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Detects another program that zeroes counters of the table (`conntrack -L -z`, another collector): what it has read
/// is missing here.
///
/// Between two collections, some entries are read without zeroing them. The next collection must find at least as much
/// in each of them; if it finds less, another program has zeroed the entry in the meantime.
struct ResetWatch {
    /// The number of entries sampled between two collections: the busiest ones, which have counted again by then.
    static let sampleSize = 16

    /// Sampled entries that another program has zeroed.
    private(set) var foreignResets: UInt64 = 0

    private var samples: [UInt32: Flow] = [:]
    /// A bit for each sample, chosen by the last six bits of its id. Most entries are not sampled and need no lookup.
    private var filter: UInt64 = 0

    /// Remembers an entry's counters.
    mutating func sample(_ entry: ConntrackEntry) {
        guard let id = entry.id, samples.count < Self.sampleSize else { return }
        samples[id] = entry.flow
        filter |= 1 << UInt64(id & 63)
    }

    /// Compares an entry's counters with its sample.
    mutating func compare(_ entry: ConntrackEntry) {
        guard let id = entry.id, filter & (1 << UInt64(id & 63)) != 0, let sample = samples.removeValue(forKey: id),
            sample.original == entry.flow.original
        else { return }
        let isReset =
            entry.flow.originalCounters.bytes < sample.originalCounters.bytes
            || entry.flow.replyCounters.bytes < sample.replyCounters.bytes
        if isReset { foreignResets += 1 }
    }

    /// Forgets a destroyed entry: its successor starts at zero, perhaps with the same id.
    mutating func forget(_ entry: ConntrackEntry) {
        guard let id = entry.id, filter & (1 << UInt64(id & 63)) != 0 else { return }
        samples[id] = nil
    }

    /// Forgets all samples.
    mutating func forgetSamples() {
        samples.removeAll(keepingCapacity: true)
        filter = 0
    }
}
