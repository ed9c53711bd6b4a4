// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The tables that look-ups go through: from an address to all who have it or had it a moment ago.
///
/// A plain value: what is changed in a copy is seen by nobody until the copy takes the place of the original. It is only
/// copied where that is meant: a copy counts references to every table, and many read at once.
struct EndpointTables: ~Copyable, Sendable {
    /// What has an address.
    enum Kind: UInt8, Sendable {
        case pod
        /// A pod, by an address that an annotation claims for it.
        case claimingPod
        case node
        case service
        /// A service, by a port of all nodes' addresses (``Position/init(nodePort:_:)``).
        case nodePort
    }

    /// Where a pod, node or service is found.
    struct Position: Hashable, Sendable {
        let kind: Kind
        let address: IPAddress
        /// The service's port; 0 for one that is found by its address alone.
        var port: UInt16 = 0
        /// The protocol of the service's port.
        var transport = TransportProtocol(rawValue: 0)

        init(_ kind: Kind, _ address: IPAddress) { (self.kind, self.address) = (kind, address) }

        /// A service's port at an address that others may have too.
        init(service address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) {
            (kind, self.address, self.port, self.transport) = (.service, address, port, transport)
        }

        /// A service's port at every node's addresses. The table's address is made of the port and the protocol.
        init(nodePort port: UInt16, _ transport: TransportProtocol) {
            kind = .nodePort
            address = IPAddress(v4: UInt32(transport.rawValue) << 16 | UInt32(port))
        }
    }

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
        fileprivate(set) var kind: Kind = .pod

        init(labels: LabelsReference, node: Int32, startedAt: UInt32) {
            (self.labels, self.node, self.startedAt) = (labels, node, startedAt)
        }
    }

    /// What only changes ask for of a candidate.
    private struct Place: Sendable {
        let address: IPAddress
        /// The next of the same pod, node or service; -1 where there is none.
        let nextOfOwner: Int32
    }

    private(set) var endpoints = AddressTable()
    private(set) var services = AddressTable()
    private var nodePorts = AddressTable()
    /// Which blocks nodes give their pods addresses of.
    var podNetworks = PodNetworks()
    /// The addresses that nodes' agents have told.
    var hostAddresses = HostAddresses()
    /// The first place of the only pod of a node behind a service with external addresses, by the service's labels.
    private(set) var backends: [LabelsReference: [Int32: Int32]] = [:]
    /// From when to when it is known who has the addresses of pods, in seconds since the Unix epoch; nil before the first list.
    private var podsKnown: ClosedRange<UInt32>?
    private var candidates: ContiguousArray<Candidate> = []
    /// The places of the candidates, by the same numbers.
    private var places: ContiguousArray<Place> = []
    private var firstFree: Int32 = -1
    /// The numbers of all nodes that ever had a pod or were listed. Names of nodes come and go slowly: none is forgotten.
    private(set) var nodeNumbers: [String: Int32] = [:]
    /// The labels of all of them, by their numbers.
    private var nodeLabels: ContiguousArray<LabelsReference> = []

    init() {}

    /// A copy of other tables.
    init(copying other: borrowing EndpointTables) {
        endpoints = other.endpoints
        services = other.services
        nodePorts = other.nodePorts
        podNetworks = other.podNetworks
        hostAddresses = other.hostAddresses
        backends = other.backends
        podsKnown = other.podsKnown
        candidates = other.candidates
        places = other.places
        firstFree = other.firstFree
        nodeNumbers = other.nodeNumbers
        nodeLabels = other.nodeLabels
    }

    // MARK: - Look-ups

    /// Who of those with an address had it at a moment, for flows that a node observed (-1 for any).
    ///
    /// Of several who lived then, it is a pod before a node: a virtual kubelet's node has the address of its pod, and pods in
    /// the host network have none here. A pod that an annotation claims the address for comes after all others. Of several pods it is one
    /// on the observing node, whose addresses it routes to; then the one that started last: the others' objects outlive them. Where nobody lived, it is one that has just ended; then
    /// one that starts within the minute, since clocks differ and a batch may tell of a whole minute; then the one that ended
    /// last, up to two minutes before; of two with the same moment the one on the observing node.
    func endpoint(at address: IPAddress, second: UInt32, node: Int32) -> Int32? {
        resolve(endpoints[address] ?? -1, second, node)
    }

    /// The same of two addresses; it waits for memory once and not twice.
    func endpoints(
        at first: IPAddress, _ second: IPAddress, second time: UInt32, node: Int32
    ) -> (first: Int32?, second: Int32?) {
        let heads = (endpoints[first] ?? -1, endpoints[second] ?? -1)
        return (resolve(heads.0, time, node), resolve(heads.1, time, node))
    }

    /// The service that had an address and port at a moment.
    func service(at address: IPAddress, _ port: UInt16, _ transport: TransportProtocol, second: UInt32) -> Int32? {
        resolve(services[address] ?? -1, second, -1, port: port, transport)
    }

    /// The service that had a port of all nodes' addresses at a moment.
    func service(atNodePort port: UInt16, _ transport: TransportProtocol, second: UInt32) -> Int32? {
        resolve(nodePorts[Position(nodePort: port, transport).address] ?? -1, second, -1)
    }

    private func resolve(
        _ first: Int32, _ second: UInt32, _ node: Int32, port: UInt16 = 0,
        _ transport: TransportProtocol = TransportProtocol(rawValue: 0)
    ) -> Int32? {
        var best: (slot: Int32, rank: UInt64)?
        var slot = first
        while slot >= 0 {
            if isMeant(slot, port, transport), let rank = rank(of: slot, at: second, node), rank > best?.rank ?? 0 {
                best = (slot, rank)
            }
            slot = candidates[Int(slot)].next
        }
        return best?.slot
    }

    private func isMeant(_ slot: Int32, _ port: UInt16, _ transport: TransportProtocol) -> Bool {
        let expected = candidates[Int(slot)].port
        return expected == 0 || expected == port && candidates[Int(slot)].transport == transport
    }

    /// The higher the likelier, nil for one that cannot be meant.
    private func rank(of slot: Int32, at second: UInt32, _ node: Int32) -> UInt64? {
        let startedAt = candidates[Int(slot)].startedAt
        let endedAt = candidates[Int(slot)].endedAt
        let isHere: UInt64 = candidates[Int(slot)].node == node ? 1 : 0
        if candidates[Int(slot)].kind == .claimingPod {
            return startedAt <= second && second <= endedAt ? 1 + isHere : nil
        }
        if startedAt > second {
            guard startedAt - second <= ClusterIndex.secondsBeforeTheStart else { return nil }
            return 2 << 40 | UInt64(UInt32.max - startedAt) << 1 | isHere
        }
        if second <= endedAt {
            let isPod: UInt64 = candidates[Int(slot)].kind == .node ? 0 : 1
            return 4 << 40 | isPod << 33 | isHere << 32 | UInt64(startedAt)
        }
        switch second - endedAt {
        case ...ClusterIndex.secondsJustAfterTheEnd: return 3 << 40 | UInt64(endedAt) << 1 | isHere
        case ...ClusterIndex.secondsAfterTheEnd: return 1 << 40 | UInt64(endedAt) << 1 | isHere
        default: return nil
        }
    }

    /// All who have or had an address, whenever that was.
    func candidates(at address: IPAddress) -> [Candidate] {
        var all: [Candidate] = []
        var slot = endpoints[address] ?? -1
        while slot >= 0 {
            all.append(candidates[Int(slot)])
            slot = candidates[Int(slot)].next
        }
        return all
    }

    /// A candidate of a look-up.
    subscript(slot: Int32) -> Candidate { candidates[Int(slot)] }

    /// The only pod of a node behind a service that has external addresses.
    func backend(ofService slot: Int32, onNode node: Int32) -> Int32? { backends[candidates[Int(slot)].labels]?[node] }

    /// Notes which pod of a node is the only one behind a service.
    mutating func setBackend(_ pod: Int32?, ofService labels: EndpointLabels, onNode node: Int32) {
        backends[LabelsReference(labels), default: [:]][node] = pod
    }

    /// Forgets which pods are behind a service.
    mutating func removeBackends(ofService labels: EndpointLabels) { backends[LabelsReference(labels)] = nil }

    /// The labels of a candidate.
    func labels(of slot: Int32) -> LabelsReference { candidates[Int(slot)].labels }

    /// Whether a candidate is a node.
    func isNode(_ slot: Int32) -> Bool { candidates[Int(slot)].kind == .node }

    /// Whether only an annotation says that a candidate has its address.
    func isClaiming(_ slot: Int32) -> Bool { candidates[Int(slot)].kind == .claimingPod }

    /// The node that a candidate runs on or is.
    func node(of slot: Int32) -> Int32 { candidates[Int(slot)].node }

    /// The labels of a node.
    func labels(ofNode number: Int32) -> LabelsReference { nodeLabels[Int(number)] }

    /// The node of whose host's own addresses an address is that no pod and no Node object has, for flows that a node
    /// observed at a moment (-1 for none in particular): by what agents tell, and in the block of a node whose agent has told
    /// nothing, where it was known then that no pod had it.
    func host(of address: IPAddress, second: UInt32, observedBy node: Int32) -> Int32? {
        if hostAddresses.isOwn(address, ofNode: node) { return node }
        if let other = hostAddresses.node(with: address) { return other }
        guard let owner = podNetworks.node(of: address) else { return nil }
        let isMeant =
            hostAddresses.areTold(ofNode: owner)
            ? hostAddresses.isOwn(address, ofNode: owner) : podsKnown?.contains(second) ?? false
        return isMeant ? owner : nil
    }

    // MARK: - Changes

    /// For how many more addresses there is to be room before a few changes are made in place: to grow takes long.
    static let room = 256

    /// Whether there is room for a few changes.
    var hasRoom: Bool {
        candidates.count + Self.room <= min(candidates.capacity, places.capacity) && endpoints.hasRoom(for: Self.room)
            && services.hasRoom(for: Self.room) && nodePorts.hasRoom(for: Self.room)
            && hostAddresses.hasRoom(for: Self.room)
    }

    /// Makes room for about as much as there is already.
    mutating func makeRoom() {
        if candidates.count + Self.room > min(candidates.capacity, places.capacity) {
            candidates.reserveCapacity(max(2 * Self.room, candidates.count * 2))
            places.reserveCapacity(candidates.capacity)
        }
        endpoints.makeRoom(for: Self.room)
        services.makeRoom(for: Self.room)
        nodePorts.makeRoom(for: Self.room)
        hostAddresses.makeRoom(for: Self.room)
    }

    /// Notes that everything is known of pods at a moment, and so for the next minute and a half: a watch has something to
    /// tell every minute.
    mutating func hearOfPods(at second: UInt32) {
        let end = max(second, second &+ ClusterIndex.secondsBetweenSigns)
        podsKnown = (podsKnown.flatMap { $0.contains(second) ? $0.lowerBound : nil } ?? second)...end
    }

    /// Gives a new node a number.
    mutating func addNode(_ name: String, _ labels: EndpointLabels) -> Int32 {
        let number = Int32(nodeNumbers.count)
        nodeNumbers[name] = number
        nodeLabels.append(LabelsReference(labels))
        return number
    }

    /// Gives a node other labels.
    mutating func relabel(node number: Int32, _ labels: EndpointLabels) {
        nodeLabels[Int(number)] = LabelsReference(labels)
    }

    /// Adds one to those with an address and returns its number; `nextOfOwner` is the number of the one that its owner had
    /// before, -1 where there is none.
    mutating func insert(_ candidate: Candidate, at position: Position, nextOfOwner: Int32) -> Int32 {
        var candidate = candidate
        let place = Place(address: position.address, nextOfOwner: nextOfOwner)
        (candidate.kind, candidate.port, candidate.transport) = (position.kind, position.port, position.transport)
        candidate.next = head(at: position) ?? -1
        let slot: Int32
        if firstFree >= 0 {
            slot = firstFree
            firstFree = candidates[Int(slot)].next
            candidates[Int(slot)] = candidate
            places[Int(slot)] = place
        } else {
            slot = Int32(candidates.count)
            candidates.append(candidate)
            places.append(place)
        }
        setHead(at: position, slot)
        return slot
    }

    /// Whether a position holds as many of its kind as it may.
    func isCrowded(at position: Position) -> Bool {
        let limit: Int
        switch position.kind {
        case .pod, .node: return false
        case .claimingPod: limit = ClusterIndex.maximumClaimsAtAddress
        case .service, .nodePort: limit = ClusterIndex.maximumServicesAtAddress
        }
        var count = 0
        var slot = head(at: position) ?? -1
        while slot >= 0, count < limit {
            if candidates[Int(slot)].kind == position.kind { count += 1 }
            slot = candidates[Int(slot)].next
        }
        return count == limit
    }

    /// Removes one from those with its address.
    mutating func remove(_ slot: Int32) {
        let removed = candidates[Int(slot)]
        let position = position(of: slot)
        if head(at: position) == slot {
            setHead(at: position, removed.next >= 0 ? removed.next : nil)
        } else {
            var before = head(at: position) ?? -1
            while before >= 0, candidates[Int(before)].next != slot { before = candidates[Int(before)].next }
            if before >= 0 { candidates[Int(before)].next = removed.next }
        }
        candidates[Int(slot)].next = firstFree
        firstFree = slot
    }

    /// Notes when one has ended; it is still found for a while.
    mutating func end(_ slot: Int32, at second: UInt32) { candidates[Int(slot)].endedAt = second }

    /// The one at a position that ended first and is meant no more, where there are too many of them.
    func firstEnded(at position: Position, now: UInt32) -> Int32? {
        var first: Int32?
        var count = 0
        var slot = head(at: position) ?? -1
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

    /// Gives all places of one owner other labels.
    mutating func relabel(_ head: Int32, _ labels: EndpointLabels) {
        var slot = head
        while slot >= 0 {
            candidates[Int(slot)].labels = LabelsReference(labels)
            slot = next(ofOwnerOf: slot)
        }
    }

    /// Where one owner is found.
    func positions(ofOwner head: Int32) -> [Position] {
        var positions: [Position] = []
        var slot = head
        while slot >= 0 {
            positions.append(position(of: slot))
            slot = next(ofOwnerOf: slot)
        }
        return positions
    }

    /// Since when one owner is found there.
    func starts(ofOwner head: Int32) -> [Position: UInt32] {
        var starts: [Position: UInt32] = [:]
        var slot = head
        while slot >= 0 {
            starts[position(of: slot)] = candidates[Int(slot)].startedAt
            slot = next(ofOwnerOf: slot)
        }
        return starts
    }

    /// Where a candidate is found.
    func position(of slot: Int32) -> Position {
        let candidate = candidates[Int(slot)]
        var position = Position(candidate.kind, places[Int(slot)].address)
        (position.port, position.transport) = (candidate.port, candidate.transport)
        return position
    }

    /// The next candidate of the same owner; -1 where there is none.
    func next(ofOwnerOf slot: Int32) -> Int32 { places[Int(slot)].nextOfOwner }

    private func head(at position: Position) -> Int32? {
        switch position.kind {
        case .pod, .claimingPod, .node: endpoints[position.address]
        case .service: services[position.address]
        case .nodePort: nodePorts[position.address]
        }
    }

    private mutating func setHead(at position: Position, _ slot: Int32?) {
        switch position.kind {
        case .pod, .claimingPod, .node: endpoints[position.address] = slot
        case .service: services[position.address] = slot
        case .nodePort: nodePorts[position.address] = slot
        }
    }
}
