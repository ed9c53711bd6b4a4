// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import FlowWire
public import Logging
public import NIOCore
import Secrets
import Synchronization
import Threads
import TransportSecurity

/// The agent's side of the connection to a server: keeps every batch until the server acknowledges that it is in
/// ClickHouse, and reconnects, with backoff, for as long as the agent runs.
public final class FlowExporter: Sendable {
    private let configuration: Configuration
    private let hello: Hello
    /// The event loop of the connection and of every timer.
    let eventLoop: any EventLoop
    private let logger: Logger
    private let statisticsStorage = Mutex(Statistics())
    /// The unacknowledged frames' size in bytes, including frames on their way to the event loop.
    private let unacknowledgedBytes = Atomic(0)
    private let lastSequence = Mutex(UInt64(0))
    /// Notified when ``isServerBehind`` is no longer true.
    private let serverCaughtUp = ChangeNotifier()
    private let loopState: NIOLoopBoundBox<LoopState>
    private let connector: ServerConnector
    private let spool: Spool?

    /// State that only the event loop accesses.
    private struct LoopState {
        var machine: ExportStateMachine
        var channel: (any Channel)?
        var nextAttempt: Scheduled<Void>?
        var emptied: EventLoopPromise<Void>?
        /// The start of the server's silence while it owes an acknowledgement; nil while it owes none.
        var silentSince: NIODeadline?
        var openedAt = NIODeadline.now()
        /// The host's addresses; nil while they are unknown.
        var hostAddresses: [IPAddress]?
        /// The host addresses last sent on the open connection.
        var toldAddresses: [IPAddress]?
        /// Whether the connection was closed because of the server's silence.
        var isSilent = false
        var servers = ServerChoice()
        /// The task that ends the time after a `GoAway` in which no new batch is sent.
        var departure: Scheduled<Void>?
        /// Makes the send times of the open connection, or of the last one.
        var sendClock: SendClock
    }

    /// Makes an exporter that has not connected yet.
    public init(configuration: Configuration, hello: Hello, group: any EventLoopGroup, logger: Logger) {
        self.configuration = configuration
        self.hello = hello
        self.logger = logger
        let eventLoop = group.next()
        self.eventLoop = eventLoop
        connector = ServerConnector(configuration, eventLoop: eventLoop, logger: logger)
        spool = configuration.spoolDirectory.map { directory in
            var settings = Spool.Configuration(
                directory: directory, maximumBytes: configuration.maximumUnacknowledgedBytes,
                nodeName: hello.nodeName, agentID: hello.agentID)
            if let backoff = configuration.spoolBackoff { settings.backoff = backoff }
            return Spool(settings, eventLoop: eventLoop, logger: logger)
        }
        let machine = ExportStateMachine(
            agentID: hello.agentID, backoff: configuration.backoff,
            mergeAboveBytes: configuration.maximumUnacknowledgedBytes / 4,
            maximumInFlightBytes: max(
                ExportStateMachine.firstGrantedBytes, configuration.maximumUnacknowledgedBytes / 8))
        loopState = .makeBoxSendingValue(
            LoopState(machine: machine, sendClock: SendClock(configuration.clock())),
            eventLoop: eventLoop)
    }

    /// The state of the connection and of the batches so far.
    public var statistics: Statistics {
        var statistics = statisticsStorage.withLock { $0 }
        statistics.unacknowledgedBytes = unacknowledgedBytes.load(ordering: .relaxed)
        statistics.tls = connector.statistics
        statistics.spool = spool?.statistics
        if let spool = statistics.spool {
            statistics.balance.lose(spool.excess, to: .noRoomToRestore)
            statistics.balance.lose(spool.corrupt, to: .corruption)
        }
        return statistics
    }

    /// Whether more counters may be taken out of the kernel: true below three quarters of the limit. While it is false,
    /// the kernel keeps counting, which costs time resolution but no bytes. The last quarter is reserved for DESTROY
    /// events, which the kernel does not keep.
    public var hasRoom: Bool {
        unacknowledgedBytes.load(ordering: .relaxed) < configuration.maximumUnacknowledgedBytes / 4 * 3
    }

    /// Whether DESTROY events, which would be lost otherwise, still fit below the limit.
    public var hasRoomForEvents: Bool {
        unacknowledgedBytes.load(ordering: .relaxed) < configuration.maximumUnacknowledgedBytes
    }

    /// True while connected and with more than an eighth of the limit unacknowledged; a wait with
    /// ``waitForServer(atMost:)`` then saves memory.
    public var isServerBehind: Bool {
        unacknowledgedBytes.load(ordering: .relaxed) > configuration.maximumUnacknowledgedBytes / 8
            && statisticsStorage.withLock { $0.isConnected }
    }

    /// Blocks the thread while ``isServerBehind`` is true, at most for `limit`.
    public func waitForServer(atMost limit: Duration) {
        serverCaughtUp.block(atMost: limit) { !isServerBehind }
    }

    /// Opens the spool directory and starts connecting.
    public func start() {
        spool?.start(
            usedBytes: { self.unacknowledgedBytes.load(ordering: .relaxed) },
            exchange: { restored in
                self.restore(restored)
                return self.loopState.value.machine.spooledBatches
            })
        eventLoop.execute { self.perform(self.loopState.value.machine.start()) }
        let interval = TimeAmount.nanoseconds(max(1, configuration.answerTimeout.nanoseconds / 4))
        eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in self.checkSilence() }
        let lifeInterval = configuration.signOfLifeInterval
        eventLoop.scheduleRepeatedTask(initialDelay: lifeInterval, delay: lifeInterval) { _ in self.sendHeartbeat() }
    }

    /// Numbers a batch, keeps it until it is acknowledged, and sends it as soon as a connection is open. Callable from
    /// any thread.
    ///
    /// - Parameters:
    ///   - collected: The flows and network bytes put into the batch.
    ///   - source: The source of those flows.
    ///   - make: Makes the batch with its sequence number.
    func export(
        _ collected: FlowAmount, of source: FlowSource, _ make: (_ sequence: UInt64) -> ExportBatch
    ) {
        // The lock makes batches reach the event loop in the order of their numbers.
        lastSequence.withLock { sequence in
            sequence += 1
            var batch = make(sequence)
            batch.wallLead = configuration.clock().wallLead
            enqueue(batch, collected, of: source)
        }
    }

    /// Keeps a batch until it is acknowledged. Batches must come in ascending order of their sequence numbers.
    func enqueue(_ batch: ExportBatch, _ collected: FlowAmount, of source: FlowSource) {
        book { $0.collect(collected, of: source, in: batch.amount) }
        unacknowledgedBytes.add(batch.frame.readableBytes, ordering: .relaxed)
        eventLoop.execute { self.keep(batch) }
    }

    /// Counts flows of ended connections that had no room in a batch; see ``hasRoomForEvents``.
    public func countLost(_ flows: FlowAmount) { book { $0.lose(flows, to: .noRoom) } }

    /// Sets the host's addresses: they are sent on the open connection, if they have changed, and in the `Hello` of
    /// every later one. Callable from any thread.
    ///
    /// - Parameter hostAddresses: The addresses, at most ``Hello/maximumHostAddresses``.
    public func tell(hostAddresses: [IPAddress]) {
        statisticsStorage.withLock { $0.hostAddresses = hostAddresses.count }
        eventLoop.execute {
            self.loopState.value.hostAddresses = hostAddresses
            self.sendHostAddresses()
        }
    }

    /// Waits until every batch is acknowledged, at most for `timeout`, and closes the connection.
    ///
    /// - Returns: The flows that were not acknowledged in time.
    public func drain(timeout: TimeAmount) async throws -> FlowAmount {
        try await eventLoop.flatSubmit {
            let emptied = self.eventLoop.makePromise(of: Void.self)
            if self.loopState.value.machine.isEmpty { emptied.succeed() }
            self.loopState.value.emptied = emptied
            self.change { $0.hurry() }
            let deadline = self.eventLoop.scheduleTask(in: timeout) { emptied.succeed() }
            return emptied.futureResult.map {
                deadline.cancel()
                let rest = self.loopState.value.machine.unacknowledged
                self.change { $0.stop() }
                return rest
            }
        }.get()
    }

    /// Closes the spool directory; to be called after ``drain(timeout:)``.
    ///
    /// - Returns: Whether the directory holds every unacknowledged batch, for the next agent process.
    public func closeSpool() async throws -> Bool {
        guard let spool else { return false }
        return try await eventLoop.flatSubmit { spool.close(within: self.configuration.spoolTimeout) }.get()
    }

    // MARK: - On the event loop

    /// Passes an event to the state machine and performs the action that it returns.
    private func change(_ event: (inout ExportStateMachine) -> ExportStateMachine.Action) {
        let before = loopState.value.machine.keptFrameBytes
        let action = event(&loopState.value.machine)
        let saved = before - loopState.value.machine.keptFrameBytes
        unacknowledgedBytes.subtract(saved, ordering: .relaxed)
        statisticsStorage.withLock { statistics in
            statistics.restoredBatches = loopState.value.machine.restoredBatches
            statistics.unacknowledgedBatches = loopState.value.machine.keptBatches
            statistics.oldestObservation = loopState.value.machine.oldestObservation
            statistics.doubtfulBatches = loopState.value.machine.doubtfulBatches
            statistics.grantedBytes = loopState.value.machine.grantedBytes
        }
        perform(action)
        if saved > 0 { endWaitsForServer() }
    }

    /// Ends the waits of ``waitForServer(atMost:)`` unless the server is still behind; to be called after unacknowledged
    /// bytes have become fewer or the connection has ended.
    private func endWaitsForServer() {
        if !isServerBehind { serverCaughtUp.notify() }
    }

    private func book(_ change: (inout FlowBalance) -> Void) { statisticsStorage.withLock { change(&$0.balance) } }

    private func keep(_ batch: ExportBatch) {
        let merges = loopState.value.machine.merges
        change { machine in
            let mergedFlows = machine.mergedFlows
            let action = machine.enqueue(batch)
            book {
                $0.keep(batch.amount)
                $0.merge(machine.mergedFlows - mergedFlows)
            }
            return action
        }
        if loopState.value.machine.merges == merges {
            spool?.append(SpooledBatch(agentID: hello.agentID, batch: batch))
        } else {
            rewriteLogAfterMerge()
        }
        // Undoes the addition in `enqueue`: `change` has counted the frame among the kept ones, less what merging saved.
        unacknowledgedBytes.subtract(batch.frame.readableBytes, ordering: .relaxed)
        endWaitsForServer()
    }

    /// Rewrites the spool's log with the merged batches. They are sent once they are written, or after the time for which
    /// a connection waits for the spool.
    private func rewriteLogAfterMerge() {
        guard let spool else { return }
        spool.replace(with: loopState.value.machine.spooledBatches)
        guard !loopState.value.machine.isLogBehind else { return }
        loopState.value.machine.logFellBehind()
        spool.whenSettled(before: .now() + configuration.spoolTimeout) { self.change { $0.logCaughtUp() } }
    }

    private func restore(_ batches: [SpooledBatch]) {
        book { $0.restore(batches.reduce(into: FlowAmount()) { $0 += $1.batch.amount }) }
        change { $0.restore(batches) }
    }

    private func perform(_ action: ExportStateMachine.Action) {
        switch action {
        case .nothing: break
        case .connect(let delay):
            loopState.value.nextAttempt?.cancel()
            loopState.value.nextAttempt = eventLoop.scheduleTask(in: TimeAmount(delay)) {
                if self.loopState.value.machine.attemptIsDue() { self.connect() }
            }
        case .send(let frames):
            if let channel = loopState.value.channel {
                for frame in frames { write(frame.frame, wallLead: frame.wallLead, to: channel) }
                channel.flush()
            }
            if loopState.value.silentSince == nil { loopState.value.silentSince = .now() }
        case .close:
            loopState.value.channel?.close(promise: nil)
        }
    }

    /// Sends a heartbeat unless the channel is not writable: for a server that does not read, heartbeats would pile up.
    func sendHeartbeat() {
        guard let channel = loopState.value.channel, channel.isWritable else { return }
        write(AgentMessage.signOfLife, to: channel)
        channel.flush()
    }

    /// Writes a frame, with the time at which it is sent, without flushing it. Messages that a server reads ahead of
    /// batches go without a time: it recognises them by their first byte.
    ///
    /// - Parameters:
    ///   - frame: The frame.
    ///   - wallLead: For a batch of this process, ``ExportBatch/wallLead``.
    ///   - channel: The open connection.
    ///   - maximumLength: The limit on the message's length.
    private func write(
        _ frame: ByteBuffer, wallLead: Int64? = nil, to channel: any Channel,
        maximumLength: Int = Frame.maximumLength
    ) {
        let time = loopState.value.sendClock.time(configuration.clock(), wallLead: wallLead)
        let isUrgent = AgentMessage.isUrgent(frame.readableBytesView.dropFirst(Frame.headerLength))
        guard let time, !isUrgent else { return channel.write(frame, promise: nil) }
        for bytes in time.stamp(frame, maximumLength: maximumLength) { channel.write(bytes, promise: nil) }
    }

    /// Sends the host's addresses unless they were sent before, the server has sent `GoAway`, or the channel is not
    /// writable; in the last case, they are sent when it is writable again.
    func sendHostAddresses() {
        guard let channel = loopState.value.channel, channel.isWritable, !loopState.value.machine.isDraining,
            let addresses = loopState.value.hostAddresses, addresses != loopState.value.toldAddresses
        else { return }
        loopState.value.toldAddresses = addresses
        write(AgentMessage.frame(hostAddresses: addresses), to: channel)
        channel.flush()
    }

    /// Returns the start of the server's silence while it owes an acknowledgement; nil while it owes none.
    func silentSince() async throws -> NIODeadline? {
        try await eventLoop.submit { self.loopState.value.silentSince }.get()
    }

    private func checkSilence() {
        guard let since = loopState.value.silentSince, NIODeadline.now() - since > configuration.answerTimeout else {
            return
        }
        loopState.value.silentSince = nil
        loopState.value.isSilent = true
        statisticsStorage.withLock { $0.silentConnections += 1 }
        logger.warning(
            "no message from a server that owes acknowledgements; reconnecting",
            metadata: ["silent_for": "\(configuration.answerTimeout.nanoseconds / 1_000_000_000) s"])
        // A server that was only frozen reads this when it goes on.
        loopState.value.channel?.writeAndFlush(AgentMessage.leavingFrame, promise: nil)
        loopState.value.channel?.close(promise: nil)
    }

    // MARK: - Connecting

    private func connect() {
        connector.connect(in: loopState.value.servers.nextOrder(), while: { self.isConnecting }) {
            ServerMessageHandler(exporter: self)
        }
        .whenComplete { result in
            switch result {
            case .success(let connection): self.openedWhenSettled(connection)
            case .failure(is ServerConnector.Abandoned): break
            case .failure(let error): self.couldNotConnect(error)
            }
        }
    }

    /// Whether the connection that is being opened is still wanted. A drain may have ended meanwhile.
    private var isConnecting: Bool { loopState.value.machine.isConnecting }

    private func couldNotConnect(_ error: any Error) {
        let failure = error is HandshakeTimeout ? .timeout : TLSFailure(error)
        let reason = failure?.rawValue ?? (error is CredentialError ? "credentials" : "unreachable")
        statisticsStorage.withLock {
            $0.failedConnections += 1
            $0.connectionFailures[reason, default: 0] += 1
        }
        var metadata: Logger.Metadata = [
            "server": "\(configuration.host):\(configuration.port)", "error": "\(error)", "reason": "\(reason)",
        ]
        if let failure { metadata["remedy"] = "\(failure.agentRemedy)" }
        logger.warning("cannot connect to the server; the agent keeps its batches and retries", metadata: metadata)
        change { $0.connectionFailed() }
    }

    /// The longest wait for the spool before a confirmation. The server leaves the batches out of the block if it has to
    /// wait for longer than five seconds.
    private static let maximumRecordWait = TimeAmount.seconds(2)

    /// Delays the `Hello` on a connection until the spool has settled.
    private func openedWhenSettled(_ connection: ServerConnector.Connection) {
        guard let spool else { return opened(connection) }
        spool.whenSettled(before: .now() + configuration.spoolTimeout) { self.opened(connection) }
    }

    private func opened(_ connection: ServerConnector.Connection) {
        let channel = connection.channel
        guard isConnecting else { return channel.close(promise: nil) }
        let peer = channel.remoteAddress.map { "\($0)" } ?? "unknown"
        logger.info("connected to the server", metadata: ["server": "\(peer)"])
        statisticsStorage.withLock {
            $0.connections += 1
            $0.isConnected = true
        }
        loopState.value.channel = channel
        loopState.value.openedAt = .now()
        loopState.value.isSilent = false
        loopState.value.servers.opened(to: channel.remoteAddress)
        var hello = hello
        hello.agentID = loopState.value.machine.nextAgentID
        hello.token = connection.token
        hello.hostAddresses = loopState.value.hostAddresses
        hello.confirmsHeld = true
        loopState.value.toldAddresses = hello.hostAddresses
        loopState.value.sendClock = SendClock(configuration.clock())
        write(hello.frame(), to: channel, maximumLength: Hello.maximumLength)
        channel.flush()
        channel.closeFuture.hop(to: eventLoop).whenComplete { _ in
            self.logger.info("the connection to the server is closed", metadata: ["server": "\(peer)"])
            self.statisticsStorage.withLock { $0.isConnected = false }
            self.endWaitsForServer()
            self.loopState.value.channel = nil
            self.loopState.value.silentSince = nil
            self.loopState.value.departure?.cancel()
            self.loopState.value.departure = nil
            self.loopState.value.servers.closed(
                isOwed: self.loopState.value.machine.inFlightBatches > 0, isSilent: self.loopState.value.isSilent)
            self.change { $0.connectionClosed() }
        }
        change { $0.connectionOpened() }
        if loopState.value.machine.awaitsAnswer && loopState.value.silentSince == nil {
            loopState.value.silentSince = .now()
        }
    }

    // MARK: - Messages from the server

    func received(_ message: ServerMessage) {
        switch message {
        case .ack(let sequences, let grantedBytes):
            // A heartbeat may come before the `Welcome`, an acknowledgement does not.
            if !sequences.isEmpty || NIODeadline.now() - loopState.value.openedAt > configuration.welcomeTimeout {
                change { $0.answeredWithoutWelcome() }
            }
            acknowledged(sequences, grantedBytes: grantedBytes)
        case .goAway(let reason, let supportedVersion, _) where supportedVersion != 0:
            logger.error(
                "the server does not speak this agent's protocol: upgrade the server first, or downgrade the agent",
                metadata: [
                    "reason": "\(reason)", "server_version": "\(supportedVersion)",
                    "agent_version": "\(hello.protocolVersion)",
                ])
            leave()
        case .goAway(let reason, _, isRefusal: true):
            logger.error(
                "the server rejects this agent; the agent keeps its batches and retries",
                metadata: ["reason": "\(reason)"])
            statisticsStorage.withLock {
                $0.refusal = reason
                $0.connectionFailures["refused", default: 0] += 1
            }
            leave()
        case .goAway(let reason, _, _):
            logger.info("the server asks the agent to reconnect", metadata: ["reason": "\(reason)"])
            leave()
        case .welcome(let welcome):
            loopState.value.servers.welcomed(by: welcome, isReachable: connector.acceptsAnyAddress)
            change { $0.welcomed(by: welcome) }
        case .held(let held): confirm(held)
        case .settlement(let fates): settled(fates)
        case .unknown:
            logger.debug("ignored a message of a later protocol version")
        }
        loopState.value.silentSince = loopState.value.machine.awaitsAnswer ? .now() : nil
    }

    private func acknowledged(_ sequences: [UInt64], grantedBytes: UInt64) {
        if !sequences.isEmpty { loopState.value.servers.acknowledged() }
        // An empty acknowledgement is a heartbeat, which the server also sends before it has admitted the agent.
        if !sequences.isEmpty { statisticsStorage.withLock { $0.refusal = nil } }
        release { $0.acknowledged(sequences, grantedBytes: grantedBytes) }
    }

    /// Passes an event to the state machine by which batches may be acknowledged.
    private func release(
        _ event: (inout ExportStateMachine) -> (ExportStateMachine.Acknowledged, ExportStateMachine.Action)
    ) {
        change { machine in
            let frameBytes = machine.keptFrameBytes
            let (acknowledged, action) = event(&machine)
            if !acknowledged.sequences.isEmpty {
                let agentID = machine.connectedAs
                spool?.acknowledge(
                    acknowledged.sequences.map { BatchKey(agentID: agentID, sequence: $0) },
                    frameBytes: frameBytes - machine.keptFrameBytes, oldest: machine.oldest)
            }
            statisticsStorage.withLock {
                $0.balance.acknowledge(acknowledged.amount)
                $0.unknownAcknowledgements += UInt64(acknowledged.unknown)
            }
            return action
        }
        if loopState.value.machine.isEmpty { loopState.value.emptied?.succeed() }
    }

    /// Records an announced block, and confirms it once the spool has the record or has failed, or after
    /// ``Configuration/spoolTimeout``.
    private func confirm(_ held: Held) {
        let recorded = loopState.value.machine.held(held)
        let channel = loopState.value.channel
        let confirm: @Sendable () -> Void = {
            // Another block may have been announced for some of them meanwhile.
            let batches = self.loopState.value.machine.batches(recorded?.batches ?? [], recordedUnder: held.token)
            let confirmation = HeldConfirmation(token: held.token, sequences: batches.map(\.sequence))
            channel?.writeAndFlush(confirmation.frame(), promise: nil)
        }
        guard let spool, let recorded, !recorded.batches.isEmpty else { return confirm() }
        spool.record(recorded.block, of: recorded.batches, before: .now() + Self.maximumRecordWait, confirm)
    }

    private func settled(_ fates: [SettledDoubt]) {
        let counts = SettledDoubt.Fate.allCases.map { fate in fates.count { $0.fate == fate } }
        logger.notice(
            "the server has found out which blocks of another server are stored",
            metadata: ["stored": "\(counts[0])", "not_stored": "\(counts[1])", "uncertain": "\(counts[2])"])
        release { $0.settled(fates) }
    }

    /// Closes the connection once the batches in flight are acknowledged: another server would store them again. After
    /// ``Configuration/departureTimeout``, new batches are sent on it again. A silent server is left like any other.
    private func leave() {
        if loopState.value.departure == nil {
            loopState.value.departure = eventLoop.scheduleTask(in: configuration.departureTimeout) {
                self.loopState.value.departure = nil
                self.change { $0.departureFailed() }
                self.sendHostAddresses()
            }
        }
        let wasLong = NIODeadline.now() - loopState.value.openedAt > .seconds(30)
        change { $0.goAway(afterLongConnection: wasLong) }
    }

    func failed(_ error: any Error) {
        var metadata: Logger.Metadata = ["error": "\(error)"]
        // With TLS 1.3, the server checks the agent's certificate after the handshake is complete for the agent.
        if let failure = TLSFailure(error) {
            metadata["remedy"] = "\(failure.agentRemedy)"
            statisticsStorage.withLock { $0.connectionFailures[failure.rawValue, default: 0] += 1 }
        }
        logger.warning("the connection to the server failed", metadata: metadata)
    }
}
