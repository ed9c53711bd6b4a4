// SPDX-License-Identifier: Apache-2.0

/// The state machine of the lock's holder: the connected peers, the choice of a successor, and whether the agent may
/// leave. It does no I/O; each event returns the actions to perform.
///
/// The holder leaves when it is told to stop, or when a successor of its own workload has just started. Peers of other
/// workloads wait. Once the agent has read its last event, one peer is granted the lock and the event socket; the
/// handover ends when that peer confirms. Until then the holder can take both back.
struct LockHolder {
    typealias PeerID = Int
    typealias Instant = ContinuousClock.Instant

    enum Action: Equatable {
        case close(PeerID)
        case reply(LockMessage.Kind, to: PeerID)
        /// A successor of the same workload has asked: the agent must stop collecting and offer what it has. If the
        /// successor is gone by then, the outcome is ``InstanceLock/Outcome/kept``.
        case leave(for: LockPeer)
        /// Report that another agent has been told to wait.
        case reportWaiting(PeerID)
        case grant(to: PeerID)
        /// The peer's time to confirm is over: a confirmation that it has already sent counts, a later one does not.
        case revoke(PeerID)
        case finish(InstanceLock.Outcome)
    }

    /// The time for a peer to send its request, and for a successor to confirm.
    static let answerTime: Duration = .seconds(2)
    /// The maximum number of connections at a time. Connections of other users are not counted: they are closed at
    /// once.
    static let maximumPeers = 8
    /// The maximum number of connections accepted in a second, which bounds the CPU time that a flood of them costs.
    static let maximumAcceptsPerSecond = 32

    private struct Peer {
        let id: PeerID
        let peer: LockPeer
        var request: LockMessage?
        var isGranted = false
        var deadline: Instant?
    }

    private let workload: String
    private let user: UInt32
    /// The connected peers, in the order of their arrival.
    private var peers: [Peer] = []
    private var isStopping = false
    private var isLeaving = false
    /// The end of the time in which connected peers may still send a request. Set once the agent has read its last
    /// event.
    private var offeringUntil: Instant?
    private var isFinished = false
    private var accepts = 0
    private var acceptsSince: Instant

    init(workload: String, user: UInt32, now: Instant) {
        self.workload = workload
        self.user = user
        acceptsSince = now
    }

    /// Whether another connection may be accepted.
    func mayAccept(now: Instant) -> Bool {
        peers.count < Self.maximumPeers && (accepts < Self.maximumAcceptsPerSecond || now >= nextAccepts)
    }

    /// When to call ``passed(_:)`` next; nil if there is no deadline.
    var deadline: Instant? {
        let deadlines = peers.compactMap(\.deadline) + (isGranted ? [] : [offeringUntil].compactMap { $0 })
        return (accepts < Self.maximumAcceptsPerSecond ? deadlines : deadlines + [nextAccepts]).min()
    }

    private var nextAccepts: Instant { acceptsSince + .seconds(1) }

    /// Handles an accepted connection; `peer` is nil if the kernel does not tell which process it belongs to.
    mutating func connected(_ id: PeerID, _ peer: LockPeer?, now: Instant) -> [Action] {
        if now >= nextAccepts { (accepts, acceptsSince) = (0, now) }
        accepts += 1
        guard let peer, peer.user == user else { return [.close(id)] }
        peers.append(Peer(id: id, peer: peer, deadline: now + Self.answerTime))
        return []
    }

    /// Handles a connection that could not be accepted. The next one cannot be either as long as the process has no
    /// free descriptors, so none is accepted for up to a second.
    mutating func couldNotAccept(now: Instant) {
        if now >= nextAccepts { acceptsSince = now }
        accepts = Self.maximumAcceptsPerSecond
    }

    /// Handles a peer's message; `isAuthorized` is true if the descriptors with it prove that the peer may receive the
    /// kernel's events.
    mutating func received(_ message: LockMessage, isAuthorized: Bool, from id: PeerID) -> [Action] {
        guard let index = peers.firstIndex(where: { $0.id == id }) else { return [] }
        if peers[index].isGranted {
            guard message.kind == .confirm else { return closed(id) }
            isFinished = true
            return [.finish(.handedOver)]
        }
        guard message.kind.isRequest, isAuthorized, peers[index].request == nil else { return closed(id) }
        peers[index].request = message
        peers[index].deadline = nil
        if offeringUntil != nil { return offerToNext() }
        if isLeaving || isStopping { return [.reply(.leaving, to: id)] }
        guard isSuccessor(peers[index]) else {
            return [.reply(.wait, to: id)] + (message.kind == .takeOver ? [.reportWaiting(id)] : [])
        }
        isLeaving = true
        return [.reply(.leaving, to: id), .leave(for: peers[index].peer)]
    }

    /// Handles a peer that has closed its connection or has sent something that is not a message.
    mutating func closed(_ id: PeerID) -> [Action] {
        guard let index = peers.firstIndex(where: { $0.id == id }) else { return [] }
        peers.remove(at: index)
        return [.close(id)] + offerToNext()
    }

    /// Handles the deadlines that have passed.
    mutating func passed(_ now: Instant) -> [Action] {
        if now >= nextAccepts { (accepts, acceptsSince) = (0, now) }
        var actions: [Action] = []
        for index in peers.indices.reversed() where peers[index].deadline.map({ $0 <= now }) ?? false {
            if peers[index].isGranted {
                peers[index].deadline = nil
                actions.append(.revoke(peers[index].id))
            } else {
                actions.append(.close(peers.remove(at: index).id))
            }
        }
        return actions + offerToNext(now: now)
    }

    /// Handles the shutdown of the agent: a waiting peer succeeds it.
    mutating func stop() -> [Action] {
        guard !isStopping else { return [] }
        isStopping = true
        guard !isLeaving else { return [] }
        return peers.filter { $0.request != nil }.map { .reply(.leaving, to: $0.id) }
    }

    /// Handles the offer of the agent, which has read its last event: a successor may have the lock and the event
    /// socket.
    mutating func offer(now: Instant) -> [Action] {
        offeringUntil = now + Self.answerTime
        return offerToNext(now: now)
    }

    private mutating func offerToNext(now: Instant = .now) -> [Action] {
        guard let offeringUntil, !isFinished, !isGranted else { return [] }
        guard let index = indexOfSuccessor else {
            if now < offeringUntil, peers.contains(where: { $0.request == nil }) { return [] }
            isFinished = true
            return [.finish(.kept)]
        }
        peers[index].isGranted = true
        peers[index].deadline = now + Self.answerTime
        return [.grant(to: peers[index].id)]
    }

    private var isGranted: Bool { peers.contains(where: \.isGranted) }

    /// The peer to grant next. Peers that have just started come before those that stand by. An agent that has not been
    /// told to stop gives way to its own workload only.
    private var indexOfSuccessor: Int? {
        peers.firstIndex(where: isSuccessor)
            ?? (isStopping
                ? peers.firstIndex { $0.request?.kind == .takeOver } ?? peers.firstIndex { $0.request != nil } : nil)
    }

    private func isSuccessor(_ peer: Peer) -> Bool {
        !workload.isEmpty && peer.request?.kind == .takeOver && peer.request?.workload == workload
    }
}
