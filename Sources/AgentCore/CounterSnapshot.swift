// SPDX-License-Identifier: Apache-2.0

package import FlowModel

/// The counters of connections at one moment, in 40 bytes each.
package struct CounterSnapshot {
    /// The result of a lookup.
    package enum Finding: Equatable {
        /// The connection's counters.
        case counters(original: FlowCounters, reply: FlowCounters)
        /// The connection did not exist.
        case absent
        /// The connection was not stored, or cannot be told from others: a flow lacks the fields by which conntrack
        /// distinguishes ICMP connections.
        case unknown
    }

    private struct Entry {
        let connection: UInt64
        let original: FlowCounters
        let reply: FlowCounters
    }

    /// Sorted by `connection` once the snapshot is sealed.
    private var entries: [Entry] = []
    private let maximumCount: Int
    private var isFull = false

    /// - Parameters:
    ///   - expectedCount: The approximate number of connections.
    ///   - maximumCount: The maximum number of connections to store.
    package init(expectedCount: Int, maximumCount: Int) {
        self.maximumCount = maximumCount
        entries.reserveCapacity(min(expectedCount, maximumCount))
    }

    /// Stores a connection's counters.
    package mutating func add(_ flow: Flow) {
        guard entries.count < maximumCount else {
            isFull = true
            return
        }
        entries.append(
            Entry(connection: Self.number(of: flow), original: flow.originalCounters, reply: flow.replyCounters))
    }

    /// Prepares the stored connections for ``find(_:)``.
    package mutating func seal() { entries.sort { $0.connection < $1.connection } }

    /// Returns the counters that a connection had.
    package func find(_ flow: Flow) -> Finding {
        let number = Self.number(of: flow)
        var range = entries.indices
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            range = entries[middle].connection < number ? middle + 1..<range.upperBound : range.lowerBound..<middle
        }
        let found = entries[range.lowerBound...].prefix(2).filter { $0.connection == number }
        switch (found.first, found.count) {
        case (let entry?, 1): return .counters(original: entry.original, reply: entry.reply)
        case (nil, _): return isFull ? .unknown : .absent
        default: return .unknown
        }
    }

    /// Returns a hash of a connection. The probability that two of a million connections share one is 1 in 40 million.
    private static func number(of flow: Flow) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(flow.transport)
        hasher.combine(flow.original)
        hasher.combine(flow.reply)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
