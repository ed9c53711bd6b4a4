// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel

/// A pod, node or service that has or had an address. It holds only the fields that look-ups read, in 32 bytes:
/// fetching candidates from memory is the main cost of a look-up.
struct Candidate: Sendable {
    var labels: LabelsReference
    /// The number of the node that the candidate is or runs on; -1 for a service, and for a pod without a node.
    var node: Int32
    /// In seconds since the Unix epoch.
    var startedAt: UInt32
    /// In seconds since the Unix epoch; `.max` until the candidate ends.
    var endedAt: UInt32 = .max
    /// The next candidate at the same address, or the next free slot; -1 at the end of the list.
    fileprivate(set) var next: Int32 = -1
    /// The service's port at the address; 0 for all ports.
    fileprivate(set) var port: UInt16 = 0
    fileprivate(set) var transport = TransportProtocol(rawValue: 0)
    fileprivate(set) var kind: EndpointTables.Kind = .pod
    /// The cluster of the pod, node or service.
    let cluster: ClusterID

    init(labels: LabelsReference, node: Int32, startedAt: UInt32, cluster: ClusterID) {
        (self.labels, self.node, self.startedAt, self.cluster) = (labels, node, startedAt, cluster)
    }
}

/// All candidates, by slot number. The candidates at one address form a linked list, and so do the candidates of one
/// owner.
struct Candidates: Sendable {
    /// The fields of a candidate that only changes read.
    private struct Place: Sendable {
        let address: IPAddress
        /// The next candidate of the same pod, node or service; -1 at the end of the list.
        let nextOfOwner: Int32
    }

    private var candidates: ContiguousArray<Candidate> = []
    /// The places of the candidates, by the same slot numbers.
    private var places: ContiguousArray<Place> = []
    private var firstFree: Int32 = -1

    subscript(slot: Int32) -> Candidate {
        get { candidates[Int(slot)] }
        _modify { yield &candidates[Int(slot)] }
    }

    // MARK: - Look-ups

    /// Returns the candidate that most likely had an address at a moment, from the list that begins at `first` (-1 for
    /// an empty list), for flows that `node` of `cluster` observed (-1 for any node) and for a port of the address.
    ///
    /// Candidates of the cluster win over all others, because clusters that are not connected may use the same
    /// addresses. Of candidates of one cluster, those that existed at that moment come first. Of several, a pod wins
    /// over a node: a virtual kubelet's node has the address of its pod, and pods in the host network are not in the
    /// list. Of several pods, a pod on the observing node wins, because that node routes to the addresses of its pods;
    /// then the pod that started last, because the objects of earlier pods outlive the pods. If no candidate existed,
    /// the order is: a candidate that has just ended; a candidate that starts within the minute, because clocks differ
    /// and a batch may cover a whole minute; the candidate that ended last, up to two minutes before. Of two candidates
    /// with the same time, the candidate on the observing node wins.
    ///
    /// A pod whose annotation claims the address counts only in its own cluster, and comes after all others.
    func likeliest(
        from first: Int32, at second: UInt32, node: Int32, in cluster: ClusterID, port: UInt16 = 0,
        _ transport: TransportProtocol = TransportProtocol(rawValue: 0)
    ) -> Int32? {
        var likeliest: Int32 = -1
        var highest: UInt64 = 0
        var slot = first
        while slot >= 0 {
            let candidate = candidates[Int(slot)]
            let isMeant = candidate.port == 0 || candidate.port == port && candidate.transport == transport
            let rank = isMeant ? candidate.rank(at: second, for: node, in: cluster) : 0
            if rank > highest { (likeliest, highest) = (slot, rank) }
            slot = candidate.next
        }
        return likeliest >= 0 ? likeliest : nil
    }

    /// Returns all candidates of the list that begins at `first`.
    func all(from first: Int32) -> [Candidate] {
        var all: [Candidate] = []
        var slot = first
        while slot >= 0 {
            all.append(candidates[Int(slot)])
            slot = candidates[Int(slot)].next
        }
        return all
    }

    /// Returns the number of a cluster's candidates of a kind in the list that begins at `first`, or `limit` if there
    /// are more.
    func count(of kind: EndpointTables.Kind, of cluster: ClusterID, from first: Int32, atMost limit: Int) -> Int {
        var count = 0
        var slot = first
        while slot >= 0, count < limit {
            let candidate = candidates[Int(slot)]
            if candidate.kind == kind, candidate.cluster == cluster { count += 1 }
            slot = candidates[Int(slot)].next
        }
        return count
    }

    /// Returns the candidate that ended first in the list that begins at `head`; nil unless too many candidates have
    /// ended and look-ups no longer return this candidate.
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

    func position(of slot: Int32) -> EndpointTables.Position {
        let candidate = candidates[Int(slot)]
        return EndpointTables.Position(
            candidate.kind, places[Int(slot)].address, candidate.port, candidate.transport)
    }

    /// Returns the next candidate of the same owner; -1 at the end of the list.
    func next(ofOwnerOf slot: Int32) -> Int32 { places[Int(slot)].nextOfOwner }

    // MARK: - Changes

    /// Whether `count` more candidates fit without growing the arrays.
    func hasRoom(for count: Int) -> Bool { candidates.count + count <= min(candidates.capacity, places.capacity) }

    /// Doubles the capacity unless `count` more candidates fit; at least `count` more fit afterwards.
    mutating func makeRoom(for count: Int) {
        guard !hasRoom(for: count) else { return }
        candidates.reserveCapacity(max(2 * count, candidates.count * 2))
        places.reserveCapacity(candidates.capacity)
    }

    /// Adds a candidate to the list that begins at `first`, before its head, and returns the candidate's slot.
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

    /// Removes a candidate from the list that begins at `first`, and returns the list's new head; -1 if the list is
    /// empty.
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
    /// Returns the candidate's rank: higher if it is likelier, 0 if it cannot match.
    fileprivate func rank(at second: UInt32, for node: Int32, in cluster: ClusterID) -> UInt64 {
        let isHere: UInt64 = self.node == node ? 1 : 0
        let isOfCluster = self.cluster == cluster
        if kind == .claimingPod { return isOfCluster && startedAt <= second && second <= endedAt ? 1 + isHere : 0 }
        let rank: UInt64
        if startedAt > second {
            guard startedAt - second <= ClusterIndex.secondsBeforeTheStart else { return 0 }
            rank = 2 << 40 | UInt64(UInt32.max - startedAt) << 1 | isHere
        } else if second <= endedAt {
            let isPod: UInt64 = kind == .node ? 0 : 1
            rank = 4 << 40 | isPod << 33 | isHere << 32 | UInt64(startedAt)
        } else {
            switch second - endedAt {
            case ...ClusterIndex.secondsJustAfterTheEnd: rank = 3 << 40 | UInt64(endedAt) << 1 | isHere
            case ...ClusterIndex.secondsAfterTheEnd: rank = 1 << 40 | UInt64(endedAt) << 1 | isHere
            default: return 0
            }
        }
        return isOfCluster ? rank | 1 << 44 : rank
    }
}
