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

        init(_ kind: Kind, _ address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) {
            (self.kind, self.address, self.port, self.transport) = (kind, address, port, transport)
        }

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
    private var candidates = Candidates()
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
        nodeNumbers = other.nodeNumbers
        nodeLabels = other.nodeLabels
    }

    // MARK: - Look-ups

    // What is called once a flow is always inlined: a call would copy the whole value to the stack.

    /// Who of those with an address had it at a moment, for flows that a node observed (-1 for any), by the order of
    /// ``Candidates/likeliest(from:at:node:port:_:)``.
    func endpoint(at address: IPAddress, second: UInt32, node: Int32) -> Int32? {
        candidates.likeliest(from: endpoints[address] ?? -1, at: second, node: node)
    }

    /// The same of two addresses; it waits for memory once and not twice.
    @inline(__always)
    func endpoints(
        at first: IPAddress, _ second: IPAddress, second time: UInt32, node: Int32
    ) -> (first: Int32?, second: Int32?) {
        let heads = (endpoints[first] ?? -1, endpoints[second] ?? -1)
        return (
            candidates.likeliest(from: heads.0, at: time, node: node),
            candidates.likeliest(from: heads.1, at: time, node: node)
        )
    }

    /// The service that had an address and port at a moment.
    @inline(__always)
    func service(at address: IPAddress, _ port: UInt16, _ transport: TransportProtocol, second: UInt32) -> Int32? {
        guard let head = services[address] else { return nil }
        return candidates.likeliest(from: head, at: second, node: -1, port: port, transport)
    }

    /// The service that had a port of all nodes' addresses at a moment.
    @inline(__always)
    func service(atNodePort port: UInt16, _ transport: TransportProtocol, second: UInt32) -> Int32? {
        guard let head = nodePorts[Position(nodePort: port, transport).address] else { return nil }
        return candidates.likeliest(from: head, at: second, node: -1)
    }

    /// All who have or had an address, whenever that was.
    func candidates(at address: IPAddress) -> [Candidate] { candidates.all(from: endpoints[address] ?? -1) }

    /// A candidate of a look-up.
    subscript(slot: Int32) -> Candidate { candidates[slot] }

    /// The only pod of a node behind a service that has external addresses.
    func backend(ofService slot: Int32, onNode node: Int32) -> Int32? { backends[candidates[slot].labels]?[node] }

    /// Notes which pod of a node is the only one behind a service.
    mutating func setBackend(_ pod: Int32?, ofService labels: EndpointLabels, onNode node: Int32) {
        backends[LabelsReference(labels), default: [:]][node] = pod
    }

    /// Forgets which pods are behind a service.
    mutating func removeBackends(ofService labels: EndpointLabels) { backends[LabelsReference(labels)] = nil }

    /// The labels of a candidate.
    func labels(of slot: Int32) -> LabelsReference { candidates[slot].labels }

    /// Whether a candidate is a node.
    func isNode(_ slot: Int32) -> Bool { candidates[slot].kind == .node }

    /// Whether only an annotation says that a candidate has its address.
    func isClaiming(_ slot: Int32) -> Bool { candidates[slot].kind == .claimingPod }

    /// The node that a candidate runs on or is.
    func node(of slot: Int32) -> Int32 { candidates[slot].node }

    /// The labels of a node.
    func labels(ofNode number: Int32) -> LabelsReference { nodeLabels[Int(number)] }

    /// The node in whose pods' block an address is that no pod and no Node object has, where it can only be the host's own:
    /// its agent tells so, or has told nothing and it was known at the moment that no pod had it.
    @inline(__always)
    func blockOwner(of address: IPAddress, second: UInt32) -> Int32? {
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
        candidates.hasRoom(for: Self.room) && endpoints.hasRoom(for: Self.room)
            && services.hasRoom(for: Self.room) && nodePorts.hasRoom(for: Self.room)
            && hostAddresses.hasRoom(for: Self.room)
    }

    /// Makes room for about as much as there is already.
    mutating func makeRoom() {
        candidates.makeRoom(for: Self.room)
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
        let slot = candidates.insert(
            candidate, at: position, before: head(at: position) ?? -1, nextOfOwner: nextOfOwner)
        setHead(at: position, slot)
        return slot
    }

    /// Whether a position holds as many of its kind as it may.
    func isCrowded(at position: Position) -> Bool {
        switch position.kind {
        case .pod, .node: false
        case .claimingPod: isFull(at: position, ClusterIndex.maximumClaimsAtAddress)
        case .service, .nodePort: isFull(at: position, ClusterIndex.maximumServicesAtAddress)
        }
    }

    private func isFull(at position: Position, _ limit: Int) -> Bool {
        candidates.count(of: position.kind, from: head(at: position) ?? -1, atMost: limit) == limit
    }

    /// Removes one from those with its address.
    mutating func remove(_ slot: Int32) {
        let position = position(of: slot)
        let head = head(at: position) ?? -1
        let headAfter = candidates.remove(slot, from: head)
        if headAfter != head { setHead(at: position, headAfter >= 0 ? headAfter : nil) }
    }

    /// Notes when one has ended; it is still found for a while.
    mutating func end(_ slot: Int32, at second: UInt32) { candidates[slot].endedAt = second }

    /// The one at a position that ended first and is meant no more, where there are too many of them.
    func firstEnded(at position: Position, now: UInt32) -> Int32? {
        candidates.firstEnded(from: head(at: position) ?? -1, now: now)
    }

    /// Gives all places of one owner other labels.
    mutating func relabel(_ head: Int32, _ labels: EndpointLabels) {
        var slot = head
        while slot >= 0 {
            candidates[slot].labels = LabelsReference(labels)
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
            starts[position(of: slot)] = candidates[slot].startedAt
            slot = next(ofOwnerOf: slot)
        }
        return starts
    }

    /// Where a candidate is found.
    func position(of slot: Int32) -> Position { candidates.position(of: slot) }

    /// The next candidate of the same owner; -1 where there is none.
    func next(ofOwnerOf slot: Int32) -> Int32 { candidates.next(ofOwnerOf: slot) }

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
