// SPDX-License-Identifier: Apache-2.0

import DequeModule
import FlowModel
import FlowWire
import NIOCore

/// The decisions on one agent's connection: which frames are decoded and when reading pauses, whether the agent is
/// admitted, and when the connection is closed.
///
/// The machine does no I/O and has no clock: every event returns the action that the caller must perform. An action may
/// cause further events before it is complete, such as a failed write that closes the channel; the machine is then
/// already in the state after the first event.
struct AgentConnectionStateMachine {
    /// A point in the life of the connection.
    enum State {
        /// The TLS handshake is in progress.
        case handshake
        /// `Hello` has not arrived. With `awaitsReading`, the deadline is that for reading to resume.
        case awaitingHello(awaitsReading: Bool)
        /// `Hello` has arrived, and the authenticator is examining the agent.
        case examining(ConnectedAgent, hostAddresses: [IPAddress]?)
        /// The agent is admitted.
        case admitted(ConnectedAgent)
        /// The channel is being closed: further input is ignored. The agent is nil if none was admitted.
        case closing(ConnectedAgent?)
        /// The channel is closed.
        case closed
    }

    /// The timers that the caller keeps for the machine; each calls ``timerFired(_:at:_:)``.
    enum Timer: Int, CaseIterable {
        /// The handshake, `Hello`, the end of a pause or the agent's next message is late.
        case deadline
        /// A heartbeat is due.
        case heartbeat
        /// The connection is old enough for the agent to reconnect.
        case age
        /// The agent was asked to reconnect and must have left.
        case departure
        /// The token by which the agent was admitted expires.
        case tokenExpiry
        /// The next address update may be passed to the sink.
        case addressUpdate
    }

    /// The conditions outside of the machine under which the peer is read.
    struct Conditions {
        /// Whether the server can store batches.
        var isGateOpen: Bool
        /// Whether the channel is writable: the peer drains its acknowledgements.
        var isWritable: Bool
    }

    /// What is known of the peer of a failed connection.
    enum Peer {
        /// No agent was admitted. The name is that of a rejected agent's node.
        case unadmitted(nodeName: String?)
        case agent(ConnectedAgent)
    }

    /// The action that the caller must perform.
    enum Action {
        case nothing
        /// Perform these actions in this order.
        case all([Action])
        /// Decode the frame, and call ``helloReceived(_:from:at:)``, ``batchReceived(_:at:)``, ``leavingReceived()``,
        /// ``hostAddressesReceived(_:)``, ``confirmationReceived(_:)``, ``doubtsReceived(_:)`` or, if it is malformed,
        /// ``failed(_:)``.
        case decode(ByteBuffer)
        /// Perform what ``nextWaitingFrame(_:)`` returns until that is not a frame.
        case decodeWaitingFrames
        /// Read from the channel once.
        case read
        case write(ServerMessage)
        /// Start a timer, in place of an earlier one of its kind.
        case schedule(Timer, in: TimeAmount)
        case cancel(Timer)
        /// Let the authenticator examine the agent, and call ``examined(_:at:_:)`` with its verdict.
        case examine(Hello)
        /// Count and log an admitted agent.
        case admit(ConnectedAgent)
        /// Pass addresses of the agent's host to the sink.
        case updateAddresses([IPAddress], of: ConnectedAgent)
        /// Record an agent's confirmation that it knows the block of its batches.
        case confirm(HeldConfirmation, of: ConnectedAgent)
        /// Find out the fates of blocks, and call ``doubtsSettled(_:)``.
        case settle([Doubt], of: ConnectedAgent)
        /// Count a connection whose agent is asked to reconnect because of its age.
        case countAged
        /// Count and log an error, and close the channel.
        case fail(any Error, Peer)
        /// Close the channel.
        case close
        /// Withdraw an agent's unacknowledged batches: it has said that it sends them again on another connection.
        case withdraw(Set<UInt64>, of: ConnectedAgent)
        /// Cancel the timers and the examination, and log that the agent, if one was admitted, has disconnected.
        case end(ConnectedAgent?)
    }

    /// The action for a decoded batch.
    enum BatchAction {
        /// Pass the batch to the sink.
        case take(from: ConnectedAgent)
        /// Drop the batch and perform another action.
        case drop(Action)
    }

    /// The limit on waiting frames: more than the batches of one read, as a batch takes at least 50 bytes.
    static let maximumWaiting = 512

    /// The limit on the bytes of waiting frames above which the peer is not even read for its confirmations.
    static let maximumWaitingBytes = 64 << 10

    /// The limit on the blocks whose fates an agent asks for at a time.
    static let maximumDoubts = 4 * Doubt.maximumCount

    /// The minimum time between two address updates to the sink.
    static let addressInterval = TimeAmount.seconds(1)

    /// The time by which the request to reconnect is postponed while the server owes the agent acknowledgements or
    /// cannot store batches.
    static let agePostponement = TimeAmount.seconds(10)

    /// The age from which an unacknowledged batch postpones the request to reconnect. It is more than a batch takes to
    /// be stored while ClickHouse works.
    static let owedAge = TimeAmount.seconds(10)

    /// The time after a pause of reading in which messages may have waited for its end. Sockets hold few megabytes, and
    /// an agent sends what waits in it as fast as the server reads.
    static let backlogTime = TimeAmount.seconds(10)

    private let limits: IngestServer.Limits
    private let departureDeadline: TimeAmount
    private let heartbeatInterval: TimeAmount
    /// This connection's age at which its agent is asked to reconnect, if its token does not expire earlier; nil for
    /// never.
    private let maximumAge: TimeAmount?
    private let examinesAgents: Bool

    /// The current state. What follows is not part of it, because a collection in a payload is copied when it changes.
    private(set) var state: State
    /// Whether a read was asked for and not issued.
    private(set) var isReadPaused = false
    /// The time at which reading was last resumed; nil if it was never paused.
    private var resumed: NIODeadline?
    /// Frames that arrived while reading is paused. When a peer closes or resets its connection, NIO delivers
    /// everything that is left of it. These frames are dropped with the connection, because the peer sends them to
    /// another server.
    private var waiting: Deque<ByteBuffer> = []
    private var waitingBytes = 0
    /// The unconfirmed batches of announced blocks, with the tokens of their last blocks. A block waits for the
    /// confirmations, so the agent is read even while batches are not decoded.
    private var unconfirmed: [UInt64: UInt128] = [:]
    /// The number of blocks whose fates the agent waits for.
    private var openDoubts = 0
    /// The time at which each batch in flight arrived, by sequence number. They are not acknowledged yet.
    private var inFlight: [UInt64: NIODeadline] = [:]
    /// Whether a batch has arrived since the last request to reconnect: the agent has stayed because it was owed
    /// acknowledgements for long.
    private var isUsedAgain = false
    /// Whether the agent has said that it sends its unacknowledged batches again on another connection.
    private var isLeaving = false
    /// The time at which the last frame arrived or reading resumed.
    private var lastMessage = NIODeadline.uptimeNanoseconds(0)
    /// Whether the time since the last address update is below ``addressInterval``.
    private var holdsAddressUpdates = false
    /// The newest addresses of the agent's host, if they are not passed to the sink yet.
    private var newAddresses: [IPAddress]?

    /// Makes a machine for a new connection.
    ///
    /// - Parameters:
    ///   - configuration: The server's configuration.
    ///   - isEncrypted: Whether a TLS handshake comes first.
    ///   - generator: The source of the jitter of the connection's maximum age.
    init(
        _ configuration: IngestServer.Configuration, isEncrypted: Bool,
        using generator: inout some RandomNumberGenerator
    ) {
        limits = configuration.limits
        departureDeadline = configuration.departureDeadline
        heartbeatInterval = configuration.heartbeatInterval
        examinesAgents = configuration.authenticator != nil
        maximumAge = configuration.maximumConnectionAge.map {
            .nanoseconds(Int64(Double($0.nanoseconds) * .random(in: 0.9...1.1, using: &generator)))
        }
        state = isEncrypted ? .handshake : .awaitingHello(awaitsReading: false)
    }

    /// The number of frames that wait until reading resumes.
    var waitingFrames: Int { waiting.count }

    /// The number of batches that are not acknowledged yet.
    var batchesInFlight: Int { inFlight.count }

    /// Returns whether a message that is decoded now may have waited because the server did not read.
    func mayHaveWaited(at now: NIODeadline) -> Bool {
        isReadPaused || resumed.map { now - $0 < Self.backlogTime } ?? false
    }

    // MARK: - Opening

    /// Handles the opened channel.
    mutating func connected(at now: NIODeadline) -> Action {
        lastMessage = now
        switch state {
        case .handshake: return .schedule(.deadline, in: limits.handshakeDeadline)
        case .awaitingHello: return awaitHello()
        case .examining, .admitted, .closing, .closed: return .nothing
        }
    }

    /// Handles the end of the TLS handshake.
    mutating func handshakeCompleted() -> Action {
        guard case .handshake = state else { return .nothing }
        state = .awaitingHello(awaitsReading: false)
        return awaitHello()
    }

    /// Starts the deadline for `Hello`, and the heartbeats. Those are sent before `Hello` is read too, and whether or
    /// not ClickHouse accepts batches: without heartbeats, the agent would leave a server that is only waiting.
    private func awaitHello() -> Action {
        .all([.schedule(.deadline, in: limits.helloDeadline), .schedule(.heartbeat, in: heartbeatInterval)])
    }

    // MARK: - Frames

    /// Handles a frame. It may have been read before reading was paused; it waits then, undecoded, because a frame
    /// takes less than a third of the memory of its rows.
    mutating func frameReceived(_ frame: ByteBuffer, at now: NIODeadline, _ conditions: Conditions) -> Action {
        lastMessage = now
        switch state {
        case .closing, .closed: return .nothing
        case .handshake: return fail(ConnectionError.unexpectedMessage("a message came before the TLS handshake"))
        case .awaitingHello, .examining, .admitted: break
        }
        if !mayRead(conditions) { isReadPaused = true }
        // These messages bring no flows, and what the server holds may wait for them.
        if case .admitted = state, AgentMessage.isUrgent(frame.readableBytesView) { return .decode(frame) }
        // A frame that arrives while waiting frames are decoded does not overtake them.
        return isReadPaused || !waiting.isEmpty || !mayTake(conditions) ? keep(frame) : .decode(frame)
    }

    private mutating func keep(_ frame: ByteBuffer) -> Action {
        let isExamining = if case .examining = state { true } else { false }
        // A heartbeat needs no decoding: `lastMessage` is already set. During the examination it counts towards the limit,
        // because no agent sends many before it is admitted.
        if AgentMessage.isHeartbeat(frame), !isExamining { return .nothing }
        if waiting.count < Self.maximumWaiting {
            waiting.append(frame)
            waitingBytes += frame.readableBytes
            return .nothing
        }
        if isExamining { return fail(ConnectionError.tooManyWaiting(limit: Self.maximumWaiting)) }
        // This much arrives while reading is paused only from a peer that has gone.
        stopReceiving()
        return .close
    }

    /// Returns the action for the next waiting frame: to decode it, to read from the channel if none waits, or nothing
    /// while the peer may not be read.
    mutating func nextWaitingFrame(_ conditions: Conditions) -> Action {
        guard mayTake(conditions) else {
            if mayRead(conditions) { return .read }
            isReadPaused = true
            return .nothing
        }
        guard let frame = waiting.popFirst() else { return .read }
        waitingBytes -= frame.readableBytes
        // Releases the memory.
        if waiting.isEmpty { waiting = [] }
        return .decode(frame)
    }

    /// Handles a decoded batch.
    mutating func batchReceived(_ sequence: UInt64, at now: NIODeadline) -> BatchAction {
        switch state {
        case .admitted(let agent):
            inFlight[sequence] = now
            isUsedAgain = true
            return .take(from: agent)
        case .handshake, .awaitingHello, .examining:
            return .drop(fail(ConnectionError.unexpectedMessage("a batch came before Hello")))
        case .closing, .closed:
            return .drop(.nothing)
        }
    }

    /// Handles a message with the host's addresses.
    mutating func hostAddressesReceived(_ addresses: [IPAddress]) -> Action {
        switch state {
        case .admitted(let agent): .all(update(addresses, of: agent))
        case .handshake, .awaitingHello, .examining:
            fail(ConnectionError.unexpectedMessage("the host's addresses came before Hello"))
        case .closing, .closed: .nothing
        }
    }

    /// Handles an agent's confirmation.
    mutating func confirmationReceived(_ confirmation: HeldConfirmation) -> Action {
        switch state {
        case .admitted(let agent):
            for sequence in confirmation.sequences where unconfirmed[sequence] == confirmation.token {
                unconfirmed[sequence] = nil
            }
            return .confirm(confirmation, of: agent)
        case .handshake, .awaitingHello, .examining:
            return fail(ConnectionError.unexpectedMessage("a confirmation came before Hello"))
        case .closing, .closed: return .nothing
        }
    }

    /// Handles an agent's question for the fates of blocks.
    mutating func doubtsReceived(_ doubts: [Doubt]) -> Action {
        switch state {
        case .admitted(let agent):
            openDoubts += doubts.count
            guard openDoubts <= Self.maximumDoubts else {
                let problem = "the agent asks for the fates of more than \(Self.maximumDoubts) blocks at a time"
                return fail(ConnectionError.unexpectedMessage(problem))
            }
            return doubts.isEmpty ? .nothing : .settle(doubts, of: agent)
        case .handshake, .awaitingHello, .examining:
            return fail(ConnectionError.unexpectedMessage("a question for blocks came before Hello"))
        case .closing, .closed: return .nothing
        }
    }

    /// Handles the fates of blocks that the agent has asked for.
    mutating func doubtsSettled(_ settled: [SettledDoubt]) -> Action {
        guard case .admitted = state else { return .nothing }
        openDoubts -= settled.count
        return .write(.settlement(settled))
    }

    /// Handles the agent's message that it closes the connection and sends its unacknowledged batches again on another.
    mutating func leavingReceived() { isLeaving = true }

    /// Passes addresses to the sink, at most once per ``addressInterval``. Of several updates in one interval, only the
    /// newest is passed on.
    private mutating func update(_ addresses: [IPAddress], of agent: ConnectedAgent) -> [Action] {
        if holdsAddressUpdates {
            newAddresses = addresses
            return []
        }
        holdsAddressUpdates = true
        return [.updateAddresses(addresses, of: agent), .schedule(.addressUpdate, in: Self.addressInterval)]
    }

    // MARK: - Admission

    /// Handles `Hello`.
    mutating func helloReceived(_ hello: Hello, from remoteAddress: String, at now: NIODeadline) -> Action {
        switch state {
        case .handshake, .awaitingHello: break
        case .examining, .admitted: return fail(ConnectionError.unexpectedMessage("a second Hello came"))
        case .closing, .closed: return .nothing
        }
        guard (1...Hello.currentProtocolVersion).contains(hello.protocolVersion) else {
            let error = ConnectionError.unsupportedVersion(hello.protocolVersion)
            let goAway = ServerMessage.goAway(
                reason: "\(error)", supportedProtocolVersion: Hello.currentProtocolVersion)
            return .all([.write(goAway), fail(error)])
        }
        guard !hello.nodeName.isEmpty else { return fail(ConnectionError.noNodeName) }
        var ownHello = hello
        ownHello.token = nil
        ownHello.hostAddresses = nil
        let agent = ConnectedAgent(hello: ownHello, remoteAddress: remoteAddress)
        guard examinesAgents else { return .all(admit(agent, hello.hostAddresses, for: nil, at: now)) }
        state = .examining(agent, hostAddresses: hello.hostAddresses)
        return .all([.cancel(.deadline), .examine(hello)])
    }

    /// Handles the authenticator's verdict.
    mutating func examined(_ verdict: AgentVerdict, at now: NIODeadline, _ conditions: Conditions) -> Action {
        guard case .examining(let agent, let hostAddresses) = state else { return .nothing }
        switch verdict {
        case .admitted(let lifetime):
            let actions = admit(agent, hostAddresses, for: lifetime.map { TimeAmount($0) }, at: now)
            return .all(actions + [readMayResume(at: now, conditions)])
        case .refused(let reason, let explanation):
            let error = ConnectionError.notAdmitted(reason: reason, explanation: explanation)
            return .all([
                .write(.goAway(reason: explanation, isRefusal: true)), fail(error, of: agent.hello.nodeName),
            ])
        case .undecided(let reason, let explanation):
            let error = ConnectionError.notAdmitted(reason: reason, explanation: explanation)
            return .all([.write(.goAway(reason: explanation)), fail(error, of: agent.hello.nodeName)])
        }
    }

    private mutating func admit(
        _ agent: ConnectedAgent, _ hostAddresses: [IPAddress]?, for lifetime: TimeAmount?, at now: NIODeadline
    ) -> [Action] {
        state = .admitted(agent)
        lastMessage = now
        var actions = [Action.admit(agent)]
        if let hostAddresses { actions += update(hostAddresses, of: agent) }
        actions.append(.schedule(.deadline, in: limits.idleDeadline))
        if let lifetime { actions.append(.schedule(.tokenExpiry, in: lifetime)) }
        if let age = connectionAge(lifetime) { actions.append(.schedule(.age, in: age)) }
        return actions
    }

    /// Returns the age at which the agent is asked to reconnect; nil for never. It is `maximumAge`, but at the latest
    /// `departureDeadline` before the token expires, so that acknowledgements can still arrive, or half of the token's
    /// lifetime if that is later.
    private func connectionAge(_ lifetime: TimeAmount?) -> TimeAmount? {
        guard let lifetime else { return maximumAge }
        let left = max(lifetime - departureDeadline, .nanoseconds(lifetime.nanoseconds / 2))
        return min(maximumAge ?? left, left)
    }

    // MARK: - Timers

    /// Handles a timer.
    mutating func timerFired(_ timer: Timer, at now: NIODeadline, _ conditions: Conditions) -> Action {
        switch state {
        case .closing, .closed: .nothing
        case .handshake: timer == .deadline ? fail(ConnectionError.noHandshake(limits.handshakeDeadline)) : .nothing
        case .awaitingHello(let awaitsReading):
            switch timer {
            case .deadline: helloIsLate(awaitsReading)
            case .heartbeat: heartbeat(conditions)
            case .age, .departure, .tokenExpiry, .addressUpdate: .nothing
            }
        case .examining: timer == .heartbeat ? heartbeat(conditions) : .nothing
        case .admitted(let agent):
            switch timer {
            case .deadline: messageIsLate(at: now, conditions)
            case .heartbeat: heartbeat(conditions)
            case .age: askToReconnect(at: now, conditions)
            case .departure: departureIsLate()
            case .tokenExpiry: fail(ConnectionError.expired)
            case .addressUpdate: updateNewAddresses(of: agent)
            }
        }
    }

    /// Sends a heartbeat unless the peer does not drain what was sent before.
    private func heartbeat(_ conditions: Conditions) -> Action {
        let next = Action.schedule(.heartbeat, in: heartbeatInterval)
        return conditions.isWritable ? .all([next, .write(.ack([]))]) : next
    }

    /// The peer cannot be late while the server does not read: the deadline starts again when reading resumes. A
    /// connection on which reading is paused for too long is closed: it may belong to no agent, and takes an agent's
    /// place.
    private mutating func helloIsLate(_ awaitsReading: Bool) -> Action {
        if awaitsReading { return fail(ConnectionError.notRead(limits.idleDeadline)) }
        guard isReadPaused else { return fail(ConnectionError.noHello(limits.helloDeadline)) }
        state = .awaitingHello(awaitsReading: true)
        return .schedule(.deadline, in: limits.idleDeadline)
    }

    private mutating func messageIsLate(at now: NIODeadline, _ conditions: Conditions) -> Action {
        let limit = limits.idleDeadline
        // The peer is late if it does not drain its acknowledgements, but not if the server does not read.
        let silence = !isReadPaused || !conditions.isWritable ? now - lastMessage : .zero
        return silence < limit ? .schedule(.deadline, in: limit - silence) : fail(ConnectionError.idle(limit))
    }

    /// Asks the agent to reconnect because of the connection's age. Postpones that while batches cannot be stored: the
    /// agent would send another replica the batches that this one holds, and both would store them.
    private mutating func askToReconnect(at now: NIODeadline, _ conditions: Conditions) -> Action {
        let isOwing = inFlight.values.contains { now - $0 >= Self.owedAge }
        guard conditions.isGateOpen, !isOwing else { return .schedule(.age, in: Self.agePostponement) }
        let reason = "the connection has reached its maximum age or that of its token"
        isUsedAgain = false
        return .all([.countAged, .schedule(.departure, in: departureDeadline), .write(.goAway(reason: reason))])
    }

    /// The agent may stay for as long as the server owes it acknowledgements, and is asked again later.
    private mutating func departureIsLate() -> Action {
        guard inFlight.isEmpty, !isUsedAgain else { return .schedule(.age, in: Self.agePostponement) }
        return fail(ConnectionError.stayed(departureDeadline))
    }

    private mutating func updateNewAddresses(of agent: ConnectedAgent) -> Action {
        holdsAddressUpdates = false
        guard let addresses = newAddresses else { return .nothing }
        newAddresses = nil
        return .all(update(addresses, of: agent))
    }

    // MARK: - Backpressure

    /// Whether the peer may be read. Reading also pauses while the peer does not drain its acknowledgements.
    private func mayRead(_ conditions: Conditions) -> Bool {
        switch state {
        case .handshake, .closing: true
        case .examining, .closed: false
        case .awaitingHello: conditions.isGateOpen && conditions.isWritable
        case .admitted: mayTake(conditions) || awaitsConfirmation && conditions.isWritable
        }
    }

    /// Whether batches may be decoded.
    private func mayTake(_ conditions: Conditions) -> Bool {
        guard case .admitted = state else { return mayRead(conditions) }
        return conditions.isGateOpen && inFlight.count < limits.batchesInFlight && conditions.isWritable
    }

    /// Whether the peer is read although its batches are not, because a block waits for its confirmation.
    private var awaitsConfirmation: Bool {
        !unconfirmed.isEmpty && waitingBytes < Self.maximumWaitingBytes && waiting.count < Self.maximumWaiting / 2
    }

    /// Handles a request to read from the channel.
    mutating func readRequested(at now: NIODeadline, _ conditions: Conditions) -> Action {
        guard mayRead(conditions) else {
            isReadPaused = true
            return .nothing
        }
        guard isReadPaused else { return .read }
        isReadPaused = false
        lastMessage = now
        resumed = now
        guard case .awaitingHello = state else { return waiting.isEmpty ? .read : .decodeWaitingFrames }
        state = .awaitingHello(awaitsReading: false)
        return .all([.schedule(.deadline, in: limits.helloDeadline), .decodeWaitingFrames])
    }

    /// Handles a change of the conditions.
    mutating func readMayResume(at now: NIODeadline, _ conditions: Conditions) -> Action {
        if isReadPaused { return readRequested(at: now, conditions) }
        return !waiting.isEmpty && mayTake(conditions) ? .decodeWaitingFrames : .nothing
    }

    /// Handles an acknowledgement that is written to the agent.
    mutating func acknowledged(_ sequences: [UInt64], at now: NIODeadline, _ conditions: Conditions) -> Action {
        for sequence in sequences {
            inFlight[sequence] = nil
            unconfirmed[sequence] = nil
        }
        return readMayResume(at: now, conditions)
    }

    /// Handles a message that names the block of batches to the agent.
    mutating func held(_ held: Held, at now: NIODeadline, _ conditions: Conditions) -> Action {
        guard case .admitted = state else { return .nothing }
        for sequence in held.sequences { unconfirmed[sequence] = held.token }
        return readMayResume(at: now, conditions)
    }

    // MARK: - Closing

    /// Handles the server's request that the agent reconnect to another replica.
    func departureRequested(reason: String) -> Action {
        switch state {
        case .handshake, .awaitingHello, .examining, .admitted: .write(.goAway(reason: reason))
        case .closing, .closed: .nothing
        }
    }

    /// Handles the connection's selection for closing because unfinished frames take too much memory.
    mutating func unfinishedFramesExceeded() -> Action { fail(ConnectionError.unfinishedFrames) }

    /// Handles the connection's eviction for a new one.
    mutating func evicted() -> Action { fail(ConnectionError.tooManyConnections(limit: limits.connections)) }

    /// Handles an error of the channel or of a frame.
    mutating func failed(_ error: any Error) -> Action { fail(error) }

    private mutating func fail(_ error: any Error, of nodeName: String? = nil) -> Action {
        switch state {
        case .closing, .closed: return .nothing
        case .handshake, .awaitingHello, .examining:
            stopReceiving()
            return .fail(error, .unadmitted(nodeName: nodeName))
        case .admitted(let agent):
            stopReceiving()
            return .fail(error, .agent(agent))
        }
    }

    private mutating func stopReceiving() {
        if case .admitted(let agent) = state { state = .closing(agent) } else { state = .closing(nil) }
        (waiting, waitingBytes) = ([], 0)
        unconfirmed = [:]
    }

    /// Handles the closing of the channel by this side. Perform the action after the channel's close: it is a read if
    /// reading is paused, so that the peer's TLS close_notify is read.
    mutating func closeRequested() -> Action {
        switch state {
        case .closed: return .nothing
        case .closing: break
        case .handshake, .awaitingHello, .examining, .admitted: stopReceiving()
        }
        guard isReadPaused else { return .nothing }
        isReadPaused = false
        return .read
    }

    /// Handles the end of the connection, whichever side closed it.
    mutating func disconnected() -> Action {
        let agent: ConnectedAgent?
        switch state {
        case .closed: return .nothing
        case .handshake, .awaitingHello, .examining: agent = nil
        case .admitted(let admitted): agent = admitted
        case .closing(let admitted): agent = admitted
        }
        state = .closed
        (waiting, waitingBytes) = ([], 0)
        let owed = Set(inFlight.keys)
        inFlight = [:]
        // Without `Leaving`, the agent may have ended, and this server may have the only copy of its batches.
        guard let agent, isLeaving, !owed.isEmpty else { return .end(agent) }
        return .all([.withdraw(owed, of: agent), .end(agent)])
    }
}
