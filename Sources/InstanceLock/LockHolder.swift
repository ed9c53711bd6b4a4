// SPDX-License-Identifier: Apache-2.0

/// The state of the lock's holder: who has connected, who is to follow, and whether the agent may leave. It does no I/O;
/// each event returns what is to be done.
///
/// The holder leaves when it is told to stop, or when a successor of its own workload has just started. Peers of other
/// workloads wait. Once the agent has read its last, one peer is granted the lock and the event socket; the turn ends when
/// that peer confirms. Until then the holder can take both back.
struct LockHolder {
    typealias PeerID = Int
    typealias Instant = ContinuousClock.Instant

    enum Action: Equatable {
        case close(PeerID)
        case reply(LockMessage.Kind, to: PeerID)
        /// A successor of the same workload asks: the agent is to stop collecting and to offer what it has. If the successor
        /// is gone by then, the turn ends with ``InstanceLock/Outcome/kept``.
        case leave(for: LockPeer)
        /// Another agent has been told to wait.
        case reportWaiting(PeerID)
        case grant(to: PeerID)
        /// The peer's time to confirm is over: what it has sent by now counts, nothing after.
        case revoke(PeerID)
        case finish(InstanceLock.Outcome)
    }

    /// Time for a peer to say what it wants, and for a successor to confirm.
    static let answerTime: Duration = .seconds(2)
    /// Connections at a time. Strangers are not among them: they are closed at once.
    static let maximumPeers = 8
    /// Connections accepted in a second: a flood of them costs no more CPU time than that.
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
    /// In the order of their arrival.
    private var peers: [Peer] = []
    private var isStopping = false
    private var isLeaving = false
    /// Set once the agent has read its last: those who have connected by then are given that long to ask.
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

    /// When ``passed(_:)`` is to be called next; nil where nothing is timed.
    var deadline: Instant? {
        let deadlines = peers.compactMap(\.deadline) + (isGranted ? [] : [offeringUntil].compactMap { $0 })
        return (accepts < Self.maximumAcceptsPerSecond ? deadlines : deadlines + [nextAccepts]).min()
    }

    private var nextAccepts: Instant { acceptsSince + .seconds(1) }

    /// A connection has been accepted; `peer` is nil where the kernel does not tell whose it is.
    mutating func connected(_ id: PeerID, _ peer: LockPeer?, now: Instant) -> [Action] {
        if now >= nextAccepts { (accepts, acceptsSince) = (0, now) }
        accepts += 1
        guard let peer, peer.user == user else { return [.close(id)] }
        peers.append(Peer(id: id, peer: peer, deadline: now + Self.answerTime))
        return []
    }

    /// A connection could not be accepted, and the next cannot be as long as the process has no descriptors: none is tried
    /// for up to a second.
    mutating func couldNotAccept(now: Instant) {
        if now >= nextAccepts { acceptsSince = now }
        accepts = Self.maximumAcceptsPerSecond
    }

    /// A peer has sent a message; `isAuthorized` says whether the descriptors with it prove that it may read the kernel's
    /// events.
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

    /// A peer has closed its connection or has sent what is not a message.
    mutating func closed(_ id: PeerID) -> [Action] {
        guard let index = peers.firstIndex(where: { $0.id == id }) else { return [] }
        peers.remove(at: index)
        return [.close(id)] + offerToNext()
    }

    /// Time has passed.
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

    /// The agent shuts down: a waiting process follows it.
    mutating func stop() -> [Action] {
        guard !isStopping else { return [] }
        isStopping = true
        guard !isLeaving else { return [] }
        return peers.filter { $0.request != nil }.map { .reply(.leaving, to: $0.id) }
    }

    /// The agent has read its last: the lock and the event socket are there for a successor.
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

    /// Those that have just started come before those that stand by. An agent that is not told to stop gives way to its own
    /// workload alone.
    private var indexOfSuccessor: Int? {
        peers.firstIndex(where: isSuccessor)
            ?? (isStopping
                ? peers.firstIndex { $0.request?.kind == .takeOver } ?? peers.firstIndex { $0.request != nil } : nil)
    }

    private func isSuccessor(_ peer: Peer) -> Bool {
        !workload.isEmpty && peer.request?.kind == .takeOver && peer.request?.workload == workload
    }
}
