// SPDX-License-Identifier: Apache-2.0

import DequeModule
import FlowModel
import FlowWire
import NIOCore
import Retry

/// The unacknowledged batches, and the decisions to connect, send and close.
///
/// A batch is kept from ``enqueue(_:)`` until it is acknowledged, and is sent at most once on every connection that is
/// open in that time. The machine does no I/O: every event returns the action that the caller must perform.
///
/// The server grants the bytes that may be in flight. The batches beyond wait unsent, so that they can be merged as
/// without a server.
///
/// Batches of earlier agent processes (``restore(_:)``) keep their process's id, their numbers and their bytes, so that
/// a server that has already received them recognises them. A connection carries the batches of one process: those of
/// earlier processes go first, each process's on its own connection.
///
/// Before a server inserts a block, it announces it, and the machine records the block with its batches. If it then
/// reaches another server process, it keeps these batches back and asks that process whether the block is stored.
struct ExportStateMachine {
    /// The action that the caller must perform.
    enum Action: Equatable {
        case nothing
        /// Call ``attemptIsDue()`` after this time, and open a connection if it returns true. Replaces an earlier
        /// `connect`.
        case connect(after: Duration)
        /// Send these frames in this order.
        case send([OutgoingFrame])
        /// Close the connection, then call ``connectionClosed()``.
        case close
    }

    /// The effect of an acknowledgement.
    struct Acknowledged: Equatable {
        /// The acknowledged batches' sequence numbers.
        var sequences: [UInt64] = []
        var amount = FlowAmount()
        /// The number of sequence numbers that match no unacknowledged batch: acknowledged twice, or never sent.
        var unknown = 0
    }

    private enum State {
        /// Before ``start()``.
        case idle
        /// Waiting for the next attempt to connect.
        case waiting
        /// A connection is being opened.
        case connecting
        case connected
        /// The connection is about to be closed: no new batch is sent on it, those in flight may still be acknowledged.
        case draining
        /// After ``stop()``.
        case stopped
    }

    /// The server at the other end of the open connection.
    private enum Peer: Equatable {
        /// The server has not answered yet.
        case unknown
        /// A server of release 1, which answers without a `Welcome`.
        case unidentified
        /// This server process.
        case process(UInt128, settlesDoubts: Bool)
    }

    /// A server to which a batch was sent.
    private struct Receiver: Equatable {
        /// The server process; nil for a server of release 1.
        let process: UInt128?
        /// Whether the server inserts nothing that it has not announced.
        let announcesBlocks: Bool
    }

    /// The limit on the bytes in flight.
    private enum Window {
        /// The limit until the server has answered.
        case first
        case granted(UInt64)
        case unlimited
    }

    private struct Kept {
        /// The agent process that numbered the batch.
        let agentID: AgentID
        let batch: ExportBatch
        /// Whether the batch was sent on the open connection.
        var isInFlight: Bool
        /// Whether the batch was ever sent, or may have been. From then on its number and content are fixed.
        var wasSent: Bool
        /// Whether the batch is the result of merging its minute.
        var isMerged = false
        /// The server that the batch was last sent to, once it has answered.
        var receiver: Receiver?
        /// The block in which a server may have inserted the batch.
        var block: AnnouncedBlock?
        /// Whether a server other than the next one may store the batch, and no server can find out.
        var isDoubtful = false
    }

    /// The batches that may be in flight to a server that grants bytes. It is less than the 1,024 of a connection at
    /// which a server stops reading, because it must read the confirmations that follow.
    static let maximumInFlightBatches = 1_000

    /// The bytes of frames that may be in flight before the server has said how many it grants.
    static let firstGrantedBytes = 64 << 10

    private let agentID: AgentID
    private var state = State.idle
    private var backoff: Backoff
    private let mergeAboveBytes: Int
    private let maximumInFlightBytes: Int
    /// The bytes of kept frames above which batches are merged again. It leaves a margin above the last result, since
    /// each merge visits all flows of a minute.
    private var mergeAgainAboveBytes: Int
    /// The unacknowledged batches, those of earlier processes first, each process's in ascending order of sequence
    /// numbers.
    private var kept: Deque<Kept> = []

    /// The agent process whose batches the open connection carries, or the last one carried.
    private(set) var connectedAs: AgentID

    /// The kept frames' size in bytes.
    private(set) var keptFrameBytes = 0
    /// The number of batches restored from earlier agent processes.
    private(set) var restoredBatches = 0
    /// The number of flow entries that merging has added to another entry of the same flow.
    private(set) var mergedFlows: UInt64 = 0
    /// The number of merges of kept batches.
    private(set) var merges = 0
    /// The number of times that a batch was sent to a server while another one, to which it was sent before, may have
    /// stored it or may still store it, and it could not be found out.
    private(set) var doubtfulBatches: UInt64 = 0
    /// The number of batches in flight: sent on the open connection and not acknowledged.
    private(set) var inFlightBatches = 0
    /// The size in bytes of the frames in flight.
    private(set) var inFlightBytes = 0
    private var peer = Peer.unknown
    private var window = Window.first
    /// The tokens of the blocks in question for which the connected server has not sent a fate.
    private var askedTokens: Set<UInt128> = []
    /// Whether a batch of the open connection waits for the window or for ``logCaughtUp()``; later ones wait behind it.
    private var isBlocked = false
    /// Whether a batch in an announced block waits for the server's `Welcome`.
    private var isWelcomeAwaited = false
    /// Whether batches that were never sent must wait; see ``logFellBehind()``.
    private(set) var isLogBehind = false

    /// - Parameters:
    ///   - agentID: This agent process.
    ///   - backoff: The wait between attempts to connect.
    ///   - mergeAboveBytes: The bytes of kept frames above which batches that were never sent are merged, minute by
    ///     minute.
    ///   - maximumInFlightBytes: The bytes of frames that may be in flight at most, however many a server grants: what
    ///     is sent is never merged.
    init(agentID: AgentID, backoff: Backoff, mergeAboveBytes: Int, maximumInFlightBytes: Int = .max) {
        self.agentID = agentID
        connectedAs = agentID
        self.backoff = backoff
        self.mergeAboveBytes = mergeAboveBytes
        mergeAgainAboveBytes = mergeAboveBytes
        self.maximumInFlightBytes = maximumInFlightBytes
    }

    /// Whether every batch is acknowledged.
    var isEmpty: Bool { kept.isEmpty }

    /// The number of unacknowledged batches.
    var keptBatches: Int { kept.count }

    /// The agent process whose batches the next connection carries.
    var nextAgentID: AgentID { kept.first?.agentID ?? agentID }

    /// The oldest unacknowledged batch.
    var oldest: BatchKey? { kept.first.map { BatchKey(agentID: $0.agentID, sequence: $0.batch.sequence) } }

    /// All unacknowledged batches.
    var spooledBatches: [SpooledBatch] {
        kept.map { SpooledBatch(agentID: $0.agentID, batch: $0.batch, block: $0.block) }
    }

    /// The time at which the oldest unacknowledged batch's counters were read, in milliseconds since the Unix epoch.
    var oldestObservation: UInt64? { kept.first?.batch.observedAtMilliseconds }

    /// Whether a connection is being opened.
    var isConnecting: Bool { state == .connecting }

    /// Whether no new batch is sent on the open connection.
    var isDraining: Bool { state == .draining }

    /// Whether the server at the other end of the open connection owes an answer: an acknowledgement, the fate of a block,
    /// or the `Welcome` for which batches wait.
    var awaitsAnswer: Bool { isOwed || isWelcomeAwaited && state == .connected }

    private var isOwed: Bool { inFlightBatches > 0 || !askedTokens.isEmpty }

    /// The bytes of frames that the server at the other end of the open connection has granted; nil if it has granted
    /// none, or there is no connection.
    var grantedBytes: UInt64? {
        guard case .granted(let bytes) = window else { return nil }
        return bytes
    }

    /// The unacknowledged flows.
    var unacknowledged: FlowAmount { kept.reduce(into: FlowAmount()) { $0 += $1.batch.amount } }

    mutating func start() -> Action {
        state = .waiting
        return .connect(after: .zero)
    }

    /// Ends the wait before an attempt to connect; returns false if no attempt is wanted any longer.
    mutating func attemptIsDue() -> Bool {
        guard state == .waiting else { return false }
        state = .connecting
        return true
    }

    /// Shortens the waits for a shutdown: if batches are kept, the next attempt is due at once, and every later wait is
    /// short. A draining connection takes no new batch, so it is closed; the batches in flight on it are sent again, to
    /// the same server first.
    mutating func hurry() -> Action {
        backoff = .serverConnectionAtShutdown
        switch state {
        case .waiting where !kept.isEmpty: return .connect(after: .zero)
        case .draining: return .close
        case .idle, .waiting, .connecting, .connected, .stopped: return .nothing
        }
    }

    /// Keeps a batch. Its sequence number must be higher than those of all batches before it.
    mutating func enqueue(_ batch: ExportBatch) -> Action {
        precondition(
            kept.last.map { $0.agentID != agentID || $0.batch.sequence < batch.sequence } ?? true,
            "sequence numbers must ascend")
        kept.append(Kept(agentID: agentID, batch: batch, isInFlight: false, wasSent: false))
        keptFrameBytes += batch.frame.readableBytes
        if state == .connected, connectedAs == agentID, !isBlocked {
            if isSendable(kept[kept.endIndex - 1]) { return .send([takeFrame(at: kept.endIndex - 1)]) }
            isBlocked = true
        }
        if keptFrameBytes > mergeAgainAboveBytes { mergeNeverSent() }
        return .nothing
    }

    /// Keeps batches of earlier agent processes, ahead of all others. Any of them may have been sent, so all count as
    /// sent.
    ///
    /// - Parameter batches: The batches, grouped by process, each process's in ascending order of sequence numbers.
    mutating func restore(_ batches: [SpooledBatch]) -> Action {
        guard !batches.isEmpty else { return .nothing }
        let restored = batches.map {
            Kept(agentID: $0.agentID, batch: $0.batch, isInFlight: false, wasSent: true, block: $0.block)
        }
        kept.insert(contentsOf: restored, at: kept.startIndex)
        keptFrameBytes += batches.reduce(0) { $0 + $1.batch.frame.readableBytes }
        restoredBatches += batches.count
        mergeAgainAboveBytes = max(mergeAgainAboveBytes, mergeThreshold)
        // Restored batches go before new ones: the open connection takes no new batch, and is closed once those in
        // flight are acknowledged.
        if state == .connected { state = .draining }
        return proceed()
    }

    /// Merges the batches that were never sent, minute by minute. In `kept`, they follow all batches that were sent.
    private mutating func mergeNeverSent() {
        let firstNeverSent = kept.firstIndex { !$0.wasSent } ?? kept.endIndex
        var rest = kept[firstNeverSent...]
        var merged: [Kept] = []
        while let minute = rest.first?.batch.minute {
            let group = rest.prefix { $0.batch.minute == minute }
            rest = rest.dropFirst(group.count)
            if group.allSatisfy(\.isMerged) {
                merged += group
            } else {
                merged += ExportBatch.merged(group.map(\.batch))
                    .map { Kept(agentID: agentID, batch: $0, isInFlight: false, wasSent: false, isMerged: true) }
            }
        }
        let flows = unacknowledged.flows
        kept.replaceSubrange(firstNeverSent..., with: merged)
        keptFrameBytes = kept.reduce(0) { $0 + $1.batch.frame.readableBytes }
        mergedFlows += flows - unacknowledged.flows
        merges += 1
        mergeAgainAboveBytes = mergeThreshold
    }

    private var mergeThreshold: Int { max(mergeAboveBytes, keptFrameBytes + mergeAboveBytes / 8) }

    /// Handles the start of a log's rewriting after a merge. Until ``logCaughtUp()``, batches that were never sent wait:
    /// if this process were killed, its successor would find the unmerged batches in the log and send them in addition
    /// to their sum.
    mutating func logFellBehind() { isLogBehind = true }

    /// Handles the end of the log's rewriting, or of the time that sending waits for it.
    mutating func logCaughtUp() -> Action {
        isLogBehind = false
        return proceed()
    }

    /// Handles an opened connection, on which the `Hello` of ``nextAgentID`` has been sent: the kept batches of that
    /// process follow, as far as they fit into the first grant. Those in an announced block wait for the `Welcome`, which
    /// tells whether the server is the one that has announced it.
    mutating func connectionOpened() -> Action {
        guard state == .connecting else { return .close }
        state = .connected
        connectedAs = nextAgentID
        return proceed()
    }

    /// Handles the server's `Welcome` on the open connection.
    mutating func welcomed(by welcome: Welcome, at now: AnnouncementTime = .now()) -> Action {
        window = welcome.grantedBytes == 0 ? .unlimited : .granted(welcome.grantedBytes)
        return identified(.process(welcome.serverID, settlesDoubts: welcome.settlesDoubts), at: now)
    }

    /// Handles an answer of the server that shows that it sends no `Welcome`, if it has sent none.
    mutating func answeredWithoutWelcome() -> Action {
        guard peer == .unknown else { return .nothing }
        window = .unlimited
        return identified(.unidentified, at: .now())
    }

    private mutating func identified(_ peer: Peer, at now: AnnouncementTime) -> Action {
        self.peer = peer
        for index in kept.indices where kept[index].isInFlight { noteReceiver(at: index) }
        return proceed(questions: takeQuestions(at: now))
    }

    // MARK: - Announced blocks

    /// Handles the announcement of a block on the open connection: its token is recorded with the batches in it.
    ///
    /// - Returns: The block and the batches with which it is recorded; nil from a server that has sent no `Welcome`. The
    ///   batches that are no longer kept are left out, and so are those that another server process may have inserted:
    ///   this one must not insert them before that is settled.
    mutating func held(
        _ held: Held, at now: AnnouncementTime = .now()
    ) -> (block: AnnouncedBlock, batches: [BatchKey])? {
        guard case .process(let server, _) = peer else { return nil }
        let block = AnnouncedBlock(token: held.token, day: held.day, server: server, arrival: now)
        let batches = held.sequences.compactMap { sequence -> BatchKey? in
            guard let index = index(ofSent: sequence), kept[index].block.map({ $0.server == server }) ?? true else {
                return nil
            }
            // The server may have the batch from an earlier connection, so that it is not sent again.
            noteReceiver(at: index)
            // The first announcement of a block counts: its insert may have begun since.
            if kept[index].block?.token != held.token { kept[index].block = block }
            return BatchKey(agentID: connectedAs, sequence: sequence)
        }
        return (block, batches)
    }

    /// Returns those of some batches that are still kept and recorded under a token.
    func batches(_ keys: [BatchKey], recordedUnder token: UInt128) -> [BatchKey] {
        let recorded = Set(
            kept.lazy.filter { $0.block?.token == token }
                .map { BatchKey(agentID: $0.agentID, sequence: $0.batch.sequence) })
        return keys.filter(recorded.contains)
    }

    /// Handles the fates of blocks. Batches of stored blocks count as acknowledged, the others are sent again.
    mutating func settled(_ fates: [SettledDoubt]) -> (Acknowledged, Action) {
        var result = Acknowledged()
        for settled in fates where askedTokens.remove(settled.token) != nil {
            for index in kept.indices.reversed()
            where kept[index].agentID == connectedAs && kept[index].block?.token == settled.token {
                switch settled.fate {
                case .stored:
                    let batch = remove(at: index)
                    result.sequences.append(batch.sequence)
                    result.amount += batch.amount
                case .notStored:
                    // No server has the batch.
                    (kept[index].block, kept[index].receiver) = (nil, nil)
                case .uncertain: forgetBlock(at: index)
                }
            }
        }
        return (result, acknowledged(result))
    }

    /// Gives up finding out whether a batch's block is stored.
    private mutating func forgetBlock(at index: Int) {
        (kept[index].block, kept[index].isDoubtful) = (nil, true)
    }

    /// Returns questions for the fates of the blocks that another server process may have inserted; if the server at the
    /// other end of the open connection answers none, these batches are sent.
    private mutating func takeQuestions(at now: AnnouncementTime) -> [ByteBuffer] {
        guard state == .connected, peer != .unknown else { return [] }
        var (tokens, blocks): ([UInt128], [UInt128: [Kept]]) = ([], [:])
        for index in kept.indices {
            guard kept[index].agentID == connectedAs, let block = kept[index].block, !mayCarry(kept[index]) else {
                continue
            }
            guard case .process(_, settlesDoubts: true) = peer else {
                forgetBlock(at: index)
                continue
            }
            if blocks[block.token] == nil { tokens.append(block.token) }
            blocks[block.token, default: []].append(kept[index])
        }
        let doubts = tokens.filter { askedTokens.insert($0).inserted }
            .compactMap { token in blocks[token].flatMap { Self.doubt(about: $0, at: now) } }
        return stride(from: 0, to: doubts.count, by: Doubt.maximumCount).map { start in
            Doubt.frame(Array(doubts[start..<min(start + Doubt.maximumCount, doubts.count)]))
        }
    }

    /// Returns the question for the fate of a block, given its batches.
    private static func doubt(about batches: [Kept], at now: AnnouncementTime) -> Doubt? {
        guard let block = batches.first?.block else { return nil }
        let ages = batches.compactMap(\.block).map { now.duration(since: $0.arrival) }
        return Doubt(
            token: block.token, day: block.day, age: ages.max() ?? .zero, batches: UInt32(clamping: batches.count),
            reportedBytes: batches.reduce(0) { $0 &+ $1.batch.amount.bytes })
    }

    /// Whether the server at the other end of the open connection may receive a batch: it may not while another server
    /// process may have inserted it.
    private func mayCarry(_ candidate: Kept) -> Bool {
        guard let block = candidate.block else { return true }
        guard case .process(let server, _) = peer else { return false }
        return block.server == server
    }

    // MARK: - The connection

    /// Handles a failed attempt to connect.
    mutating func connectionFailed() -> Action { connectAgain() }

    /// Handles the end of the connection, whichever side closed it.
    mutating func connectionClosed() -> Action {
        for index in kept.indices { kept[index].isInFlight = false }
        (inFlightBatches, inFlightBytes, isBlocked, isWelcomeAwaited) = (0, 0, false, false)
        (peer, window, askedTokens) = (.unknown, .first, [])
        return connectAgain()
    }

    private mutating func connectAgain() -> Action {
        guard state != .stopped else { return .nothing }
        state = .waiting
        return .connect(after: backoff.next())
    }

    /// Handles an acknowledgement: the batches with these sequence numbers are in ClickHouse.
    ///
    /// - Parameter grantedBytes: The bytes of frames that may be in flight from now on; 0 for no change.
    mutating func acknowledged(_ sequences: [UInt64], grantedBytes: UInt64 = 0) -> (Acknowledged, Action) {
        if grantedBytes > 0 { window = .granted(grantedBytes) }
        var result = Acknowledged()
        for sequence in sequences {
            guard let index = index(ofSent: sequence) else {
                result.unknown += 1
                continue
            }
            let batch = remove(at: index)
            result.sequences.append(sequence)
            result.amount += batch.amount
        }
        return (result, acknowledged(result))
    }

    private mutating func acknowledged(_ result: Acknowledged) -> Action {
        mergeAgainAboveBytes = min(mergeAgainAboveBytes, mergeThreshold)
        // An acknowledgement shows that the server works; an accepted connection alone does not.
        if !result.sequences.isEmpty { backoff.reset() }
        return proceed()
    }

    /// Returns the index of the batch with this sequence number among those of the open connection's process that were
    /// sent; nil if there is none.
    private func index(ofSent sequence: UInt64) -> Int? {
        let index = kept.firstIndex { $0.agentID == connectedAs && $0.batch.sequence >= sequence }
        return index.flatMap { kept[$0].batch.sequence == sequence && kept[$0].wasSent ? $0 : nil }
    }

    /// Removes a batch that is in ClickHouse.
    private mutating func remove(at index: Int) -> ExportBatch {
        let removed = kept.remove(at: index)
        let bytes = removed.batch.frame.readableBytes
        keptFrameBytes -= bytes
        if removed.isInFlight {
            inFlightBatches -= 1
            inFlightBytes -= bytes
        }
        return removed.batch
    }

    /// Handles a `GoAway`: the server asks the agent to reconnect.
    ///
    /// - Parameter afterLongConnection: Whether the connection was open long enough to reset the backoff even if
    ///   nothing was acknowledged on it.
    mutating func goAway(afterLongConnection: Bool = false) -> Action {
        guard state == .connected else { return .nothing }
        state = .draining
        if afterLongConnection { backoff.reset() }
        return proceed()
    }

    /// Handles the end of the time after a `GoAway` in which no new batch is sent: the connection is used again, until
    /// the next `GoAway`.
    mutating func departureFailed(at now: AnnouncementTime = .now()) -> Action {
        guard state == .draining, connectedAs == agentID, nextAgentID == agentID, awaitsAnswer else { return .nothing }
        state = .connected
        return proceed(questions: takeQuestions(at: now))
    }

    /// Sends the batches that the connection carries, has not sent yet and may send now, or closes a connection that is
    /// over.
    ///
    /// - Parameter questions: Frames that are sent before.
    private mutating func proceed(questions: [ByteBuffer] = []) -> Action {
        if state == .connected {
            let frames = questions.map { OutgoingFrame($0) } + takeFrames()
            if !frames.isEmpty { return .send(frames) }
        }
        return isDrained ? .close : .nothing
    }

    private mutating func takeFrames() -> [OutgoingFrame] {
        (isBlocked, isWelcomeAwaited) = (false, false)
        var frames: [OutgoingFrame] = []
        for index in kept.indices where kept[index].agentID == connectedAs && !kept[index].isInFlight {
            guard mayCarry(kept[index]) else {
                isWelcomeAwaited = isWelcomeAwaited || peer == .unknown
                continue
            }
            guard isSendable(kept[index]) else {
                isBlocked = true
                break
            }
            frames.append(takeFrame(at: index))
        }
        return frames
    }

    /// Whether a batch may be in flight too. One always fits into the window, or the largest could never be sent.
    private func isSendable(_ candidate: Kept) -> Bool {
        guard candidate.wasSent || !isLogBehind else { return false }
        let limit =
            switch window {
            case .first: Self.firstGrantedBytes
            case .granted where inFlightBatches >= Self.maximumInFlightBatches: 0
            case .granted(let bytes): min(Int(clamping: bytes), maximumInFlightBytes)
            case .unlimited: Int.max
            }
        return inFlightBatches == 0 || candidate.batch.frame.readableBytes <= limit - inFlightBytes
    }

    /// Returns the frame of a batch, which is in flight from then on.
    private mutating func takeFrame(at index: Int) -> OutgoingFrame {
        let frame = kept[index].batch.frame
        kept[index].isInFlight = true
        kept[index].wasSent = true
        inFlightBatches += 1
        inFlightBytes += frame.readableBytes
        noteReceiver(at: index)
        return OutgoingFrame(frame, wallLead: kept[index].batch.wallLead)
    }

    /// Records to which server a batch was sent, once that has answered, and counts a batch that another one may store.
    private mutating func noteReceiver(at index: Int) {
        var receiver: Receiver
        switch peer {
        case .unknown: return
        case .unidentified: receiver = Receiver(process: nil, announcesBlocks: false)
        case .process(let process, let settlesDoubts):
            receiver = Receiver(process: process, announcesBlocks: settlesDoubts)
        }
        let before = kept[index].receiver
        let isElsewhere = before.map { $0.process != receiver.process && !$0.announcesBlocks } ?? false
        if kept[index].isDoubtful || isElsewhere { doubtfulBatches += 1 }
        if let before, before.process == receiver.process, !before.announcesBlocks { receiver = before }
        (kept[index].receiver, kept[index].isDoubtful) = (receiver, false)
    }

    /// Whether the open connection is to be closed now: it is draining and nothing is in flight, or it carries an
    /// earlier process's batches and none of them is left.
    private var isDrained: Bool {
        switch state {
        case .draining: !isOwed
        case .connected: connectedAs != agentID && nextAgentID != connectedAs
        case .idle, .waiting, .connecting, .stopped: false
        }
    }

    /// Closes an open connection; no further one is opened.
    mutating func stop() -> Action {
        let wasOpen = state == .connected || state == .draining
        state = .stopped
        return wasOpen ? .close : .nothing
    }
}
