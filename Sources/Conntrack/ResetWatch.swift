// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Finds out that another program takes counters out of the table (`conntrack -L -z`, another collector): what it takes is
/// missing here.
///
/// Between two collections some entries are read without zeroing them. The collection that follows must find at least as
/// much in each; less means that another program has zeroed it in the meantime.
struct ResetWatch {
    /// How many entries are sampled between two collections: the busiest, which other programs leave least time to.
    static let sampleSize = 16

    /// Samples that were found to be reset.
    private(set) var foreignResets: UInt64 = 0

    private var samples: [UInt32: Flow] = [:]
    /// A bit for each of the samples, by the id's last six bits: most entries are not sampled.
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

    /// Forgets a destroyed entry: its successor begins at zero, perhaps under the same id.
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
