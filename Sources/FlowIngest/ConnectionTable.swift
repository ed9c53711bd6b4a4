// SPDX-License-Identifier: Apache-2.0

/// The open connections and their unfinished frames, counted and limited per source and in total.
struct ConnectionTable<ID: Hashable, Connection> {
    /// The progress of a connection towards admission.
    private enum Stage {
        /// `Hello` has not arrived.
        case silent
        /// The agent's token is being examined.
        case examined
        case admitted
    }

    private struct Entry {
        let connection: Connection
        let source: String
        /// The connection's position in the order of arrival.
        let number: UInt64
        var stage = Stage.silent
        /// Bytes of the connection's unfinished frame; 0 if there is none.
        var unfinishedBytes = 0
        /// The unfinished frame's position in the order in which frames began.
        var begun: UInt64 = 0
        /// Whether the connection is being closed for its unfinished frame, whose bytes no longer count.
        var isGivenUp = false
    }

    private struct Source {
        var connections = 0
        var unfinishedBytes = 0
        /// The connections in each stage before admission.
        var waiting: [Stage: WaitingList] = [:]

        /// Removes a connection from a stage. Empty lists are freed: a source whose connections are all admitted takes
        /// no memory here.
        mutating func removeWaiting(_ number: UInt64, from stage: Stage) {
            waiting[stage]?.remove(number: number)
            if waiting[stage]?.count == 0 { waiting[stage] = nil }
            if waiting.isEmpty { waiting = [:] }
        }
    }

    /// Connections in the order of their numbers.
    private struct WaitingList {
        private var places: [(number: UInt64, id: ID)] = []

        var count: Int { places.count }
        var oldest: (number: UInt64, id: ID)? { places.first }

        mutating func insert(_ id: ID, number: UInt64) { places.insert((number, id), at: index(of: number)) }

        mutating func remove(number: UInt64) {
            let index = index(of: number)
            if index < places.count, places[index].number == number { places.remove(at: index) }
        }

        /// Returns the index of the first place whose number is not lower.
        private func index(of number: UInt64) -> Int {
            var range = places.indices
            while !range.isEmpty {
                let middle = range.lowerBound + range.count / 2
                range =
                    places[middle].number < number ? middle + 1..<range.upperBound : range.lowerBound..<middle
            }
            return range.lowerBound
        }
    }

    private let maximum: Int
    private let maximumPerSource: Int
    private let maximumUnfinishedBytes: Int
    private let maximumUnfinishedBytesPerSource: Int
    private var entries: [ID: Entry] = [:]
    private var sources: [String: Source] = [:]
    private var unfinishedBytes = 0
    private var clock: UInt64 = 0

    init(
        maximum: Int, maximumPerSource: Int, maximumUnfinishedBytes: Int, maximumUnfinishedBytesPerSource: Int
    ) {
        self.maximum = maximum
        self.maximumPerSource = maximumPerSource
        self.maximumUnfinishedBytes = maximumUnfinishedBytes
        self.maximumUnfinishedBytesPerSource = maximumUnfinishedBytesPerSource
    }

    /// The open connections.
    var connections: [Connection] { entries.values.map(\.connection) }

    /// The number of open connections.
    var count: Int { entries.count }

    /// Adds a connection. Throws if there are too many from its source, or too many in total and all of them are
    /// admitted.
    ///
    /// - Returns: The connection to close in exchange if there are too many, else nil. A connection without `Hello` is
    ///   evicted before one that is being examined, so that a flood does not evict an agent that waits for its review;
    ///   within a stage, the oldest connection of the source that has the most.
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
        sources[source]?.waiting[.silent, default: WaitingList()].insert(id, number: clock)
        return evicted
    }

    /// Records that a connection's agent has sent `Hello` and is being examined.
    mutating func noteExamination(of id: ID) { move(id, to: .examined) }

    /// Records that a connection's agent is admitted, which protects the connection from eviction.
    mutating func noteAdmission(of id: ID) { move(id, to: .admitted) }

    private mutating func move(_ id: ID, to stage: Stage) {
        guard let entry = entries[id] else { return }
        sources[entry.source]?.removeWaiting(entry.number, from: entry.stage)
        if stage != .admitted {
            sources[entry.source]?.waiting[stage, default: WaitingList()].insert(id, number: entry.number)
        }
        entries[id]?.stage = stage
    }

    /// Releases the memory of closed connections.
    mutating func releaseMemory() {
        entries.releaseMemory()
        sources.releaseMemory()
    }

    private mutating func evict() -> Connection? {
        guard let id = oldest(in: .silent) ?? oldest(in: .examined) else { return nil }
        defer { forget(id) }
        return entries[id]?.connection
    }

    /// Returns the oldest connection in a stage, of the source that has the most connections in it.
    private func oldest(in stage: Stage) -> ID? {
        var most = 0
        var oldest: (number: UInt64, id: ID)?
        for source in sources.values {
            guard let waiting = source.waiting[stage], waiting.count >= most, let first = waiting.oldest else {
                continue
            }
            if waiting.count > most || first.number < oldest?.number ?? .max { oldest = first }
            most = waiting.count
        }
        return oldest?.id
    }

    /// Removes a closed connection.
    mutating func forget(_ id: ID) {
        guard var entry = entries.removeValue(forKey: id) else { return }
        set(0, &entry)
        sources[entry.source]?.removeWaiting(entry.number, from: entry.stage)
        sources[entry.source]?.connections -= 1
        if sources[entry.source]?.connections == 0 { sources[entry.source] = nil }
    }

    /// Records the bytes of a connection's unfinished frame, 0 if there is none.
    ///
    /// - Returns: The connections to close, oldest frame first: those of this source while it is above its limit, then
    ///   those of any source while the total is above its limit.
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
    /// Moves into a smaller table if more than three quarters of this one are free.
    mutating func releaseMemory() {
        if capacity > 4 * count + 64 { self = filter { _ in true } }
    }
}
