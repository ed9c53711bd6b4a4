// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// The connections that are open and what each source has of them.
struct ConnectionTable<ID: Hashable, Connection> {
    private struct Entry {
        let connection: Connection
        let source: String
        /// Its place in the order of all that have come.
        let number: UInt64
        /// True once its agent is admitted.
        var isAdmitted = false
        /// Bytes of a frame that is not complete.
        var unfinishedBytes = 0
        /// When it was begun, in the order of all that were.
        var begun: UInt64 = 0
        /// Whether the connection has been given up: its bytes count no longer.
        var isGivenUp = false
    }

    private struct Source {
        var connections = 0
        var unfinishedBytes = 0
    }

    private let maximum: Int
    private let maximumPerSource: Int
    private let maximumUnfinishedBytes: Int
    private let maximumUnfinishedBytesPerSource: Int
    private var entries: [ID: Entry] = [:]
    private var sources: [String: Source] = [:]
    private var unfinishedBytes = 0
    private var clock: UInt64 = 0
    /// Connections in the order of their arrival; those that are closed or admitted are dropped in bulk.
    private var arrivals: Deque<(id: ID, number: UInt64)> = []

    init(
        maximum: Int, maximumPerSource: Int, maximumUnfinishedBytes: Int, maximumUnfinishedBytesPerSource: Int
    ) {
        self.maximum = maximum
        self.maximumPerSource = maximumPerSource
        self.maximumUnfinishedBytes = maximumUnfinishedBytes
        self.maximumUnfinishedBytesPerSource = maximumUnfinishedBytesPerSource
    }

    /// The connections that are open.
    var connections: [Connection] { entries.values.map(\.connection) }

    /// How many are open.
    var count: Int { entries.count }

    /// Adds a connection. Throws where there are too many and all of them are admitted.
    ///
    /// - Returns: The connection to close for it, where there are too many: the one that has waited for longest to be
    ///   admitted.
    mutating func add(_ id: ID, _ connection: Connection, from source: String) throws(ConnectionError) -> Connection? {
        guard sources[source, default: Source()].connections < maximumPerSource else {
            throw .tooManyFromSource(limit: maximumPerSource)
        }
        var evicted: Connection?
        if entries.count >= maximum {
            evicted = evict()
            if evicted == nil { throw .tooManyConnections(limit: maximum) }
        }
        sources[source, default: Source()].connections += 1
        clock += 1
        entries[id] = Entry(connection: connection, source: source, number: clock)
        arrivals.append((id, clock))
        if arrivals.count > 2 * maximum { arrivals = arrivals.filter(isWaiting) }
        return evicted
    }

    /// Notes that a connection's agent is admitted: it is not evicted.
    mutating func noteAdmission(of id: ID) { entries[id]?.isAdmitted = true }

    /// Gives back memory of connections that are closed.
    mutating func releaseMemory() {
        entries.releaseMemory()
        sources.releaseMemory()
        arrivals = arrivals.filter(isWaiting)
    }

    private func isWaiting(_ arrival: (id: ID, number: UInt64)) -> Bool {
        entries[arrival.id].map { $0.number == arrival.number && !$0.isAdmitted } ?? false
    }

    private mutating func evict() -> Connection? {
        while let arrival = arrivals.popFirst() {
            guard isWaiting(arrival), let connection = entries[arrival.id]?.connection else { continue }
            forget(arrival.id)
            return connection
        }
        return nil
    }

    /// Forgets a connection that is closed.
    mutating func forget(_ id: ID) {
        guard var entry = entries.removeValue(forKey: id) else { return }
        set(0, &entry)
        sources[entry.source]?.connections -= 1
        if sources[entry.source]?.connections == 0 { sources[entry.source] = nil }
    }

    /// Takes note of the bytes of a connection's frame that is not complete, 0 where there is none.
    ///
    /// - Returns: The connections that have to go, those whose frames were begun first: of the source where it has too
    ///   much, then of all.
    mutating func note(unfinishedBytes: Int, of id: ID) -> [Connection] {
        guard var entry = entries[id], !entry.isGivenUp else { return [] }
        if entry.unfinishedBytes == 0 {
            clock += 1
            entry.begun = clock
        }
        set(unfinishedBytes, &entry)
        entries[id] = entry
        var givenUp: [Connection] = []
        while sources[entry.source, default: Source()].unfinishedBytes > maximumUnfinishedBytesPerSource,
            let oldest = giveUpOldest(where: { $0.source == entry.source })
        {
            givenUp.append(oldest)
        }
        while self.unfinishedBytes > maximumUnfinishedBytes, let oldest = giveUpOldest(where: { _ in true }) {
            givenUp.append(oldest)
        }
        return givenUp
    }

    private mutating func giveUpOldest(where isCandidate: (Entry) -> Bool) -> Connection? {
        let candidates = entries.filter { $0.value.unfinishedBytes > 0 && isCandidate($0.value) }
        guard let (id, entry) = candidates.min(by: { $0.value.begun < $1.value.begun }) else { return nil }
        var oldest = entry
        set(0, &oldest)
        oldest.isGivenUp = true
        entries[id] = oldest
        return oldest.connection
    }

    private mutating func set(_ unfinishedBytes: Int, _ entry: inout Entry) {
        sources[entry.source]?.unfinishedBytes += unfinishedBytes - entry.unfinishedBytes
        self.unfinishedBytes += unfinishedBytes - entry.unfinishedBytes
        entry.unfinishedBytes = unfinishedBytes
    }
}

extension Dictionary {
    /// Moves into a smaller table where three quarters of this one are free.
    mutating func releaseMemory() {
        if capacity > 4 * count + 64 { self = filter { _ in true } }
    }
}
