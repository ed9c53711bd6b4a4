// SPDX-License-Identifier: Apache-2.0

package import FlowModel

/// What connections had counted at one moment, in 40 bytes each.
package struct CounterSnapshot {
    /// What is known of a connection.
    package enum Finding: Equatable {
        /// It had counted this.
        case counters(original: FlowCounters, reply: FlowCounters)
        /// It was not there.
        case absent
        /// It was left out, or cannot be told from others: what conntrack tells ICMP's apart by is not in a flow.
        case unknown
    }

    private struct Entry {
        let connection: UInt64
        let original: FlowCounters
        let reply: FlowCounters
    }

    /// In the order of their numbers, once it is sealed.
    private var entries: [Entry] = []
    private let maximumCount: Int
    private var isFull = false

    /// - Parameters:
    ///   - expectedCount: About how many connections there will be.
    ///   - maximumCount: How many are remembered at most.
    package init(expectedCount: Int, maximumCount: Int) {
        self.maximumCount = maximumCount
        entries.reserveCapacity(min(expectedCount, maximumCount))
    }

    /// Remembers a connection.
    package mutating func add(_ flow: Flow) {
        guard entries.count < maximumCount else {
            isFull = true
            return
        }
        entries.append(
            Entry(connection: Self.number(of: flow), original: flow.originalCounters, reply: flow.replyCounters))
    }

    /// Makes what was added ready to be found.
    package mutating func seal() { entries.sort { $0.connection < $1.connection } }

    /// What a connection had counted.
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

    /// A number that two of a million connections share once in 40 million times.
    private static func number(of flow: Flow) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(flow.transport)
        hasher.combine(flow.original)
        hasher.combine(flow.reply)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
