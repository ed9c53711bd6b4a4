// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// One who has or had an address. No more than what look-ups read, in 32 bytes: what they cost is that these come from
/// memory.
struct Candidate: Sendable {
    var labels: LabelsReference
    /// The number of the node that it runs on or is; -1 for a service, and for a pod that is on none.
    var node: Int32
    /// In seconds since the Unix epoch.
    var startedAt: UInt32
    /// In seconds since the Unix epoch; `.max` as long as it lives.
    var endedAt: UInt32 = .max
    /// The next with the same address, or the next free place; -1 where there is none.
    fileprivate(set) var next: Int32 = -1
    /// The port at which a service has the address; 0 for every port.
    fileprivate(set) var port: UInt16 = 0
    fileprivate(set) var transport = TransportProtocol(rawValue: 0)
    fileprivate(set) var kind: EndpointTables.Kind = .pod

    init(labels: LabelsReference, node: Int32, startedAt: UInt32) {
        (self.labels, self.node, self.startedAt) = (labels, node, startedAt)
    }
}

/// All who have or had addresses, by numbers. Those with the same address follow each other, and so do those of one owner.
struct Candidates: Sendable {
    /// What only changes ask for of a candidate.
    private struct Place: Sendable {
        let address: IPAddress
        /// The next of the same pod, node or service; -1 where there is none.
        let nextOfOwner: Int32
    }

    private var candidates: ContiguousArray<Candidate> = []
    /// The places of the candidates, by the same numbers.
    private var places: ContiguousArray<Place> = []
    private var firstFree: Int32 = -1

    subscript(slot: Int32) -> Candidate {
        get { candidates[Int(slot)] }
        _modify { yield &candidates[Int(slot)] }
    }

    // MARK: - Look-ups

    /// Who of those that follow each other from a first one (-1 for none) had the address at a moment, for flows that a node
    /// observed (-1 for any), and for one port of it.
    ///
    /// Of several who lived then, it is a pod before a node: a virtual kubelet's node has the address of its pod, and pods in
    /// the host network have none here. A pod that an annotation claims the address for comes after all others. Of several
    /// pods it is one on the observing node, whose addresses it routes to; then the one that started last: the others' objects
    /// outlive them. Where nobody lived, it is one that has just ended; then one that starts within the minute, since clocks
    /// differ and a batch may tell of a whole minute; then the one that ended last, up to two minutes before; of two with the
    /// same moment the one on the observing node.
    func likeliest(
        from first: Int32, at second: UInt32, node: Int32, port: UInt16 = 0,
        _ transport: TransportProtocol = TransportProtocol(rawValue: 0)
    ) -> Int32? {
        var likeliest: Int32 = -1
        var highest: UInt64 = 0
        var slot = first
        while slot >= 0 {
            let candidate = candidates[Int(slot)]
            let isMeant = candidate.port == 0 || candidate.port == port && candidate.transport == transport
            let rank = isMeant ? candidate.rank(at: second, for: node) : 0
            if rank > highest { (likeliest, highest) = (slot, rank) }
            slot = candidate.next
        }
        return likeliest >= 0 ? likeliest : nil
    }

    /// All that follow each other from a first one.
    func all(from first: Int32) -> [Candidate] {
        var all: [Candidate] = []
        var slot = first
        while slot >= 0 {
            all.append(candidates[Int(slot)])
            slot = candidates[Int(slot)].next
        }
        return all
    }

    /// How many of a kind follow each other from a first one; no more are counted than `limit`.
    func count(of kind: EndpointTables.Kind, from first: Int32, atMost limit: Int) -> Int {
        var count = 0
        var slot = first
        while slot >= 0, count < limit {
            if candidates[Int(slot)].kind == kind { count += 1 }
            slot = candidates[Int(slot)].next
        }
        return count
    }

    /// Of those that follow each other from a first one, the one that ended first and is meant no more, where too many have
    /// ended.
    func firstEnded(from head: Int32, now: UInt32) -> Int32? {
        var first: Int32?
        var count = 0
        var slot = head
        while slot >= 0 {
            let endedAt = candidates[Int(slot)].endedAt
            if endedAt != .max {
                count += 1
                if first.map({ endedAt < candidates[Int($0)].endedAt }) ?? true { first = slot }
            }
            slot = candidates[Int(slot)].next
        }
        guard count > ClusterIndex.maximumEndedAtAddress, let first,
            now > candidates[Int(first)].endedAt &+ ClusterIndex.secondsAfterTheEnd
        else { return nil }
        return first
    }

    /// Where a candidate is found.
    func position(of slot: Int32) -> EndpointTables.Position {
        let candidate = candidates[Int(slot)]
        return EndpointTables.Position(
            candidate.kind, places[Int(slot)].address, candidate.port, candidate.transport)
    }

    /// The next candidate of the same owner; -1 where there is none.
    func next(ofOwnerOf slot: Int32) -> Int32 { places[Int(slot)].nextOfOwner }

    // MARK: - Changes

    /// Whether so many more can be added before the lists grow.
    func hasRoom(for count: Int) -> Bool { candidates.count + count <= min(candidates.capacity, places.capacity) }

    /// Makes room for about as much as there is already, and for so many more at least.
    mutating func makeRoom(for count: Int) {
        guard !hasRoom(for: count) else { return }
        candidates.reserveCapacity(max(2 * count, candidates.count * 2))
        places.reserveCapacity(candidates.capacity)
    }

    /// Adds one before the first of those with its address, and returns its number.
    mutating func insert(
        _ candidate: Candidate, at position: EndpointTables.Position, before first: Int32, nextOfOwner: Int32
    ) -> Int32 {
        var candidate = candidate
        let place = Place(address: position.address, nextOfOwner: nextOfOwner)
        (candidate.kind, candidate.port, candidate.transport) = (position.kind, position.port, position.transport)
        candidate.next = first
        guard firstFree >= 0 else {
            candidates.append(candidate)
            places.append(place)
            return Int32(candidates.count - 1)
        }
        let slot = firstFree
        firstFree = candidates[Int(slot)].next
        candidates[Int(slot)] = candidate
        places[Int(slot)] = place
        return slot
    }

    /// Removes one from those that follow each other from a first one, and returns the first of those that are left; -1 where
    /// none is.
    mutating func remove(_ slot: Int32, from first: Int32) -> Int32 {
        let next = candidates[Int(slot)].next
        if first != slot {
            var before = first
            while before >= 0, candidates[Int(before)].next != slot { before = candidates[Int(before)].next }
            if before >= 0 { candidates[Int(before)].next = next }
        }
        candidates[Int(slot)].next = firstFree
        firstFree = slot
        return first == slot ? next : first
    }
}

extension Candidate {
    /// The higher the likelier, 0 for one that cannot be meant.
    fileprivate func rank(at second: UInt32, for node: Int32) -> UInt64 {
        let isHere: UInt64 = self.node == node ? 1 : 0
        if kind == .claimingPod { return startedAt <= second && second <= endedAt ? 1 + isHere : 0 }
        if startedAt > second {
            guard startedAt - second <= ClusterIndex.secondsBeforeTheStart else { return 0 }
            return 2 << 40 | UInt64(UInt32.max - startedAt) << 1 | isHere
        }
        if second <= endedAt {
            let isPod: UInt64 = kind == .node ? 0 : 1
            return 4 << 40 | isPod << 33 | isHere << 32 | UInt64(startedAt)
        }
        switch second - endedAt {
        case ...ClusterIndex.secondsJustAfterTheEnd: return 3 << 40 | UInt64(endedAt) << 1 | isHere
        case ...ClusterIndex.secondsAfterTheEnd: return 1 << 40 | UInt64(endedAt) << 1 | isHere
        default: return 0
        }
    }
}
