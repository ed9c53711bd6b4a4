// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel

/// The tables that look-ups read: from an address to the candidates that have it or had it recently.
///
/// A plain value: changes to a copy stay invisible until the copy replaces the original. It is noncopyable, so that
/// every copy is explicit: a copy retains every table, and many threads read at once.
struct EndpointTables: ~Copyable, Sendable {
    /// The kind of an address's owner.
    enum Kind: UInt8, Sendable {
        case pod
        /// A pod, at an address that an annotation claims for it.
        case claimingPod
        case node
        case service
        /// A service, at a port of all nodes' addresses (``Position/init(nodePort:_:)``).
        case nodePort
    }

    /// The key by which a pod, node or service is found.
    struct Position: Hashable, Sendable {
        let kind: Kind
        let address: IPAddress
        /// The service's port; 0 if the address alone is the key.
        var port: UInt16 = 0
        /// The protocol of the service's port.
        var transport = TransportProtocol(rawValue: 0)

        init(_ kind: Kind, _ address: IPAddress) { (self.kind, self.address) = (kind, address) }

        init(_ kind: Kind, _ address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) {
            (self.kind, self.address, self.port, self.transport) = (kind, address, port, transport)
        }

        /// Makes the position of a service's port at an address that other services may share.
        init(service address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) {
            (kind, self.address, self.port, self.transport) = (.service, address, port, transport)
        }

        /// Makes the position of a service's port at every node's addresses. The key's address encodes the port and the
        /// protocol.
        init(nodePort port: UInt16, _ transport: TransportProtocol) {
            kind = .nodePort
            address = IPAddress(v4: UInt32(transport.rawValue) << 16 | UInt32(port))
        }
    }

    private(set) var endpoints = AddressTable()
    private(set) var services = AddressTable()
    private var nodePorts = AddressTable()
    /// The tables that apply only within one cluster.
    var networks: PerCluster<ClusterNetwork>
    /// The first slot of the only pod of a node behind a service with external addresses, by the service's labels and
    /// the node.
    private(set) var backends: [LabelsReference: [Int32: Int32]] = [:]
    private var candidates = Candidates()
    /// The numbers of all nodes that ever had a pod or were listed. None is removed, because node names change slowly.
    private(set) var nodeNumbers: [NodeKey: Int32] = [:]
    /// The labels of all these nodes, by number.
    private var nodeLabels: ContiguousArray<LabelsReference> = []

    /// Makes empty tables for a number of clusters.
    init(clusters: Int) {
        networks = PerCluster(Array(repeating: ClusterNetwork(), count: clusters))
    }

    /// Makes a copy of other tables.
    init(copying other: borrowing EndpointTables) {
        endpoints = other.endpoints
        services = other.services
        nodePorts = other.nodePorts
        networks = other.networks
        backends = other.backends
        candidates = other.candidates
        nodeNumbers = other.nodeNumbers
        nodeLabels = other.nodeLabels
    }

    // MARK: - Look-ups

    // Functions called once per flow are always inlined: a call would copy the whole value to the stack.

    /// Returns the candidate that most likely had an address at a moment, for flows that `node` of `cluster` observed
    /// (-1 for any node), by the order of ``Candidates/likeliest(from:at:node:in:port:_:)``.
    func endpoint(at address: IPAddress, second: UInt32, node: Int32, in cluster: ClusterID) -> Int32? {
        candidates.likeliest(from: endpoints[address] ?? -1, at: second, node: node, in: cluster)
    }

    /// Returns the head of the list of an address's candidates; -1 if the list is empty.
    @inline(__always)
    func head(at address: IPAddress) -> Int32 { endpoints[address] ?? -1 }

    /// Returns the likeliest candidate of the list that begins at `head`.
    @inline(__always)
    func likeliest(from head: Int32, at second: UInt32, node: Int32, in cluster: ClusterID) -> Int32? {
        candidates.likeliest(from: head, at: second, node: node, in: cluster)
    }

    /// Returns the service of a cluster that had an address and port at a moment.
    @inline(__always)
    func service(
        at address: IPAddress, _ port: UInt16, _ transport: TransportProtocol, second: UInt32, in cluster: ClusterID
    ) -> Int32? {
        guard let head = services[address] else { return nil }
        let slot = candidates.likeliest(from: head, at: second, node: -1, in: cluster, port: port, transport)
        return slot.flatMap { candidates[$0].cluster == cluster ? $0 : nil }
    }

    /// Returns the service of a cluster that had a port of all its nodes' addresses at a moment.
    @inline(__always)
    func service(
        atNodePort port: UInt16, _ transport: TransportProtocol, second: UInt32, in cluster: ClusterID
    ) -> Int32? {
        guard let head = nodePorts[Position(nodePort: port, transport).address] else { return nil }
        let slot = candidates.likeliest(from: head, at: second, node: -1, in: cluster)
        return slot.flatMap { candidates[$0].cluster == cluster ? $0 : nil }
    }

    /// Returns all candidates that have or ever had an address and are still kept.
    func candidates(at address: IPAddress) -> [Candidate] { candidates.all(from: endpoints[address] ?? -1) }

    /// The candidate in a slot that a look-up returned.
    subscript(slot: Int32) -> Candidate { candidates[slot] }

    /// Returns the only pod of a node behind a service that has external addresses; nil if there is no pod or several.
    func backend(ofService slot: Int32, onNode node: Int32) -> Int32? { backends[candidates[slot].labels]?[node] }

    /// Sets the only pod of a node behind a service; nil if there is no pod or several.
    mutating func setBackend(_ pod: Int32?, ofService labels: EndpointLabels, onNode node: Int32) {
        backends[LabelsReference(labels), default: [:]][node] = pod
    }

    /// Removes the pods behind a service.
    mutating func removeBackends(ofService labels: EndpointLabels) { backends[LabelsReference(labels)] = nil }

    func labels(of slot: Int32) -> LabelsReference { candidates[slot].labels }

    func isNode(_ slot: Int32) -> Bool { candidates[slot].kind == .node }

    /// Whether only an annotation claims the candidate's address.
    func isClaiming(_ slot: Int32) -> Bool { candidates[slot].kind == .claimingPod }

    func labels(ofNode number: Int32) -> LabelsReference { nodeLabels[Int(number)] }

    // MARK: - Changes

    /// Number of addresses for which there must be room before changes are made in place: growing takes long.
    static let room = 256

    /// Whether there is room for changes in place.
    var hasRoom: Bool {
        candidates.hasRoom(for: Self.room) && endpoints.hasRoom(for: Self.room)
            && services.hasRoom(for: Self.room) && nodePorts.hasRoom(for: Self.room)
            && networks.all.allSatisfy { $0.hostAddresses.hasRoom(for: Self.room) }
    }

    /// Makes room for changes in place by doubling each table that lacks it.
    mutating func makeRoom() {
        candidates.makeRoom(for: Self.room)
        endpoints.makeRoom(for: Self.room)
        services.makeRoom(for: Self.room)
        nodePorts.makeRoom(for: Self.room)
        networks.modifyEach { $0.hostAddresses.makeRoom(for: Self.room) }
    }

    /// Assigns a number to a new node.
    mutating func addNode(_ key: NodeKey, _ labels: EndpointLabels) -> Int32 {
        let number = Int32(nodeNumbers.count)
        nodeNumbers[key] = number
        nodeLabels.append(LabelsReference(labels))
        return number
    }

    /// Replaces a node's labels.
    mutating func relabel(node number: Int32, _ labels: EndpointLabels) {
        nodeLabels[Int(number)] = LabelsReference(labels)
    }

    /// Adds a candidate at a position and returns its slot. `nextOfOwner` is the slot of the owner's previous candidate;
    /// -1 if there is none.
    mutating func insert(_ candidate: Candidate, at position: Position, nextOfOwner: Int32) -> Int32 {
        let slot = candidates.insert(
            candidate, at: position, before: head(at: position) ?? -1, nextOfOwner: nextOfOwner)
        setHead(at: position, slot)
        return slot
    }

    /// Whether a position holds the maximum number of a cluster's candidates of its kind.
    func isCrowded(at position: Position, of cluster: ClusterID) -> Bool {
        switch position.kind {
        case .pod, .node: false
        case .claimingPod: isFull(at: position, of: cluster, ClusterIndex.maximumClaimsAtAddress)
        case .service, .nodePort: isFull(at: position, of: cluster, ClusterIndex.maximumServicesAtAddress)
        }
    }

    private func isFull(at position: Position, of cluster: ClusterID, _ limit: Int) -> Bool {
        candidates.count(of: position.kind, of: cluster, from: head(at: position) ?? -1, atMost: limit) == limit
    }

    /// Removes a candidate from the list at its position.
    mutating func remove(_ slot: Int32) {
        let position = position(of: slot)
        let head = head(at: position) ?? -1
        let headAfter = candidates.remove(slot, from: head)
        if headAfter != head { setHead(at: position, headAfter >= 0 ? headAfter : nil) }
    }

    /// Marks a candidate as ended; look-ups still find it for a while.
    mutating func end(_ slot: Int32, at second: UInt32) { candidates[slot].endedAt = second }

    /// Returns the candidate that ended first at a position, if too many have ended and look-ups no longer return it.
    func firstEnded(at position: Position, now: UInt32) -> Int32? {
        candidates.firstEnded(from: head(at: position) ?? -1, now: now)
    }

    /// Replaces the labels of all candidates of an owner.
    mutating func relabel(_ head: Int32, _ labels: EndpointLabels) {
        var slot = head
        while slot >= 0 {
            candidates[slot].labels = LabelsReference(labels)
            slot = next(ofOwnerOf: slot)
        }
    }

    /// Returns all positions of an owner.
    func positions(ofOwner head: Int32) -> [Position] {
        var positions: [Position] = []
        var slot = head
        while slot >= 0 {
            positions.append(position(of: slot))
            slot = next(ofOwnerOf: slot)
        }
        return positions
    }

    /// Returns the start time of an owner at each of its positions.
    func starts(ofOwner head: Int32) -> [Position: UInt32] {
        var starts: [Position: UInt32] = [:]
        var slot = head
        while slot >= 0 {
            starts[position(of: slot)] = candidates[slot].startedAt
            slot = next(ofOwnerOf: slot)
        }
        return starts
    }

    func position(of slot: Int32) -> Position { candidates.position(of: slot) }

    /// Returns the next candidate of the same owner; -1 at the end of the list.
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
