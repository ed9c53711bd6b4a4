// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import FlowWire
public import Logging
public import NIOCore
import Retry
import Synchronization
public import TransportSecurity

/// The agent's side of the connection to a server: keeps every batch until the server says that ClickHouse has it, and
/// connects again, with back-off, for as long as the agent runs.
public final class FlowExporter: Sendable {
    /// Where batches go, and how much may wait.
    public struct Configuration: Sendable {
        /// The server's name or address. All of its addresses are tried, each agent beginning with another.
        public var host: String
        /// The server's port.
        public var port: Int
        /// The bound on frames that wait for their acknowledgement, in bytes; see ``FlowExporter/hasRoom``.
        public var maximumUnacknowledgedBytes: Int
        /// How long a connection attempt to one address may take.
        public var connectTimeout: TimeAmount
        /// How long a server may say nothing while it owes acknowledgements. A server that merely waits for ClickHouse
        /// says so every few seconds.
        public var answerTimeout: TimeAmount
        /// How connections are encrypted; nil for not at all.
        public var tls: TLS?
        /// The file with what proves that this agent may send, read for every connection; nil for none. The first token in
        /// it is sent.
        public var token: TokenFile?
        /// How long a server that has asked the agent to go may take to acknowledge what it holds, before it is left all
        /// the same and another gets those batches too.
        public var departureTimeout = TimeAmount.seconds(60)
        /// How often an agent that is connected says that it lives, whether or not it has anything to send.
        public var signOfLifeInterval = TimeAmount.seconds(60)
        /// The directory in which unacknowledged batches are kept for the next agent process, up to
        /// ``maximumUnacknowledgedBytes``; nil for memory alone.
        public var spoolDirectory: String?
        /// The delays between attempts to connect.
        var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(30))
        /// The silence of a server's TCP after which its connection is closed, in seconds.
        var deadPeerSeconds = DeadPeerDetection.defaultSeconds
        /// Tells a name's addresses; it may block.
        var resolve: @Sendable (_ host: String, _ port: Int) throws -> [SocketAddress] = ServerAddresses.resolve

        /// Makes a configuration of its parts.
        public init(
            host: String, port: Int, maximumUnacknowledgedBytes: Int = 16 << 20,
            connectTimeout: TimeAmount = .seconds(10), answerTimeout: TimeAmount = .seconds(60)
        ) {
            self.host = host
            self.port = port
            self.maximumUnacknowledgedBytes = maximumUnacknowledgedBytes
            self.connectTimeout = connectTimeout
            self.answerTimeout = answerTimeout
        }
    }

    /// How connections are encrypted and the two sides told to be who they say they are.
    public struct TLS: Equatable, Sendable {
        /// The agent's certificate and key where the server asks for them, and the authorities that may have signed the
        /// server's.
        public var files: TLSFiles
        /// The name that the server's certificate must be of; nil for that of the host.
        public var serverName: String?

        /// Makes a policy; the server's certificate is always checked.
        public init(files: TLSFiles = TLSFiles(), serverName: String? = nil) {
            self.files = files
            self.serverName = serverName
        }
    }

    /// Every reason in ``Statistics/connectionFailures``.
    public static let connectionFailureReasons =
        ["unreachable", "credentials", "refused"] + TLSFailure.allCases.map(\.rawValue)

    /// What has become of the batches so far.
    ///
    /// At any moment, ``collected`` and ``restored`` are together the sum of what is acknowledged and of
    /// ``unacknowledged``; to the flows of that sum, ``mergedFlows`` belong too.
    public struct Statistics: Equatable, Sendable {
        /// Whether a server is there.
        public var isConnected = false
        /// Connections that were opened.
        public var connections: UInt64 = 0
        /// Attempts to connect that failed.
        public var failedConnections: UInt64 = 0
        /// Attempts to connect that failed and connections that a server did not want, by reason, of which there are few.
        public var connectionFailures: [String: UInt64] = [:]
        /// Why the server does not let this agent in; nil where it does, as far as is known.
        public var refusal: String?
        /// What has become of the TLS files; nil where connections are not encrypted.
        public var tls: TLSContextSource.Statistics?
        /// Connections that were closed because the server said nothing for too long.
        public var silentConnections: UInt64 = 0
        /// What was put into batches, by where it came from.
        public var collected: [FlowSource: FlowAmount] = [:]
        /// What earlier agent processes left in the spool directory.
        public var restored = FlowAmount()
        /// The number of batches that earlier agent processes left there.
        public var restoredBatches = 0
        /// What has become of the spool directory; nil where there is none.
        public var spool: SpoolStatistics?
        /// Flows acknowledged to be in ClickHouse.
        public var acknowledgedFlows: UInt64 = 0
        /// Network bytes that those flows report.
        public var acknowledgedReportedBytes: UInt64 = 0
        /// What waits for its acknowledgement.
        public var unacknowledged: FlowAmount { kept + onTheirWay }
        /// Flows that became one with others of their minute when batches were merged.
        public var mergedFlows: UInt64 = 0
        /// Batches that wait for their acknowledgement.
        public var unacknowledgedBatches = 0
        /// When the counters of the batch were read that has waited for longest, in milliseconds since the Unix epoch; nil
        /// where none waits.
        public var oldestObservation: UInt64?
        /// Acknowledgements of batches that did not wait for one.
        public var unknownAcknowledgements: UInt64 = 0
        /// Bytes of frames that wait for their acknowledgement.
        public var unacknowledgedBytes = 0
        /// The number of the host's addresses that servers are told; nil where they are told none.
        public var hostAddresses: Int?

        /// What the event loop knows of and what it does not know of yet.
        var (kept, onTheirWay) = (FlowAmount(), FlowAmount())

        /// Nothing has been put into batches.
        public init() {}
    }

    private let configuration: Configuration
    private let hello: Hello
    /// The event loop of the connection and of every timer.
    let eventLoop: any EventLoop
    private let logger: Logger
    private let statisticsStorage = Mutex(Statistics())
    /// Bytes of frames that wait for their acknowledgement, those on their way to the event loop included.
    private let unacknowledgedBytes = Atomic(0)
    private let lastSequence = Mutex(UInt64(0))
    private let loopState: NIOLoopBoundBox<LoopState>
    private let connector: ServerConnector
    private let spool: Spool?

    /// What only the event loop touches.
    private struct LoopState {
        var machine: ExportStateMachine
        var channel: (any Channel)?
        var nextAttempt: Scheduled<Void>?
        var emptied: EventLoopPromise<Void>?
        /// Since when the server has said nothing although it owes an acknowledgement.
        var silentSince: NIODeadline?
        var openedAt = NIODeadline.now()
        /// The addresses of the host; nil where they are unknown.
        var hostAddresses: [IPAddress]?
        /// Those that the server of the open connection knows.
        var toldAddresses: [IPAddress]?
        /// When a server that has asked the agent to go is left whatever it owes.
        var departure: Scheduled<Void>?
        /// The place in the list of addresses to begin the next attempt with; agents begin anywhere.
        var nextAddress = Int.random(in: 0..<1024)
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
            Spool(
                Spool.Configuration(
                    directory: directory, maximumBytes: configuration.maximumUnacknowledgedBytes,
                    nodeName: hello.nodeName, agentID: hello.agentID),
                eventLoop: eventLoop, logger: logger)
        }
        let machine = ExportStateMachine(
            agentID: hello.agentID, backoff: configuration.backoff,
            mergeAboveBytes: configuration.maximumUnacknowledgedBytes / 4)
        loopState = .makeBoxSendingValue(LoopState(machine: machine), eventLoop: eventLoop)
    }

    /// What has become of the batches so far.
    public var statistics: Statistics {
        var statistics = statisticsStorage.withLock { $0 }
        statistics.unacknowledgedBytes = unacknowledgedBytes.load(ordering: .relaxed)
        statistics.tls = connector.statistics
        statistics.spool = spool?.statistics
        return statistics
    }

    /// Whether more may be taken out of the kernel: true below three quarters of the bound. While it is false, the kernel
    /// keeps counting, which costs time resolution and no bytes; the last quarter is for what the kernel keeps for nobody.
    public var hasRoom: Bool {
        unacknowledgedBytes.load(ordering: .relaxed) < configuration.maximumUnacknowledgedBytes / 4 * 3
    }

    /// Whether what would be lost otherwise still fits below the bound.
    public var hasRoomForEvents: Bool {
        unacknowledgedBytes.load(ordering: .relaxed) < configuration.maximumUnacknowledgedBytes
    }

    /// Whether a connected server has much to take still, more than an eighth of the bound: whoever waits a moment saves
    /// memory.
    public var isServerBehind: Bool {
        unacknowledgedBytes.load(ordering: .relaxed) > configuration.maximumUnacknowledgedBytes / 8
            && statisticsStorage.withLock { $0.isConnected }
    }

    /// Begins to connect.
    public func start() {
        spool?.start(
            usedBytes: { self.unacknowledgedBytes.load(ordering: .relaxed) },
            exchange: { restored in
                self.change { $0.restore(restored) }
                return self.loopState.value.machine.spooledBatches
            })
        eventLoop.execute { self.perform(self.loopState.value.machine.start()) }
        let interval = TimeAmount.nanoseconds(max(1, configuration.answerTimeout.nanoseconds / 4))
        eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in self.checkSilence() }
        let lifeInterval = configuration.signOfLifeInterval
        eventLoop.scheduleRepeatedTask(initialDelay: lifeInterval, delay: lifeInterval) { _ in self.sendHeartbeat() }
    }

    /// Numbers a batch, keeps it until it is acknowledged, and sends it as soon as a server is there. Callable from any
    /// thread.
    ///
    /// - Parameters:
    ///   - collected: What was put into the batch.
    ///   - source: Where that came from.
    ///   - make: Makes the batch with the number that it gets.
    public func export(
        _ collected: FlowAmount, of source: FlowSource, _ make: (_ sequence: UInt64) -> ExportBatch
    ) {
        // Batches reach the event loop in the order of their numbers.
        lastSequence.withLock { sequence in
            sequence += 1
            enqueue(make(sequence), collected, of: source)
        }
    }

    /// Keeps a batch until it is acknowledged. Batches must come in ascending order of their sequence numbers.
    func enqueue(_ batch: ExportBatch, _ collected: FlowAmount, of source: FlowSource) {
        statisticsStorage.withLock {
            $0.collected[source, default: FlowAmount()] += collected
            $0.onTheirWay += FlowAmount(batch)
        }
        unacknowledgedBytes.add(batch.frame.readableBytes, ordering: .relaxed)
        eventLoop.execute {
            let merges = self.loopState.value.machine.merges
            self.change(having: batch) { $0.enqueue(batch) }
            if self.loopState.value.machine.merges == merges {
                self.spool?.append(SpooledBatch(agentID: self.hello.agentID, batch: batch))
            } else {
                self.spool?.replace(with: self.loopState.value.machine.spooledBatches)
            }
            // What was added above, less what merging has saved.
            self.unacknowledgedBytes.subtract(batch.frame.readableBytes, ordering: .relaxed)
        }
    }

    /// Tells servers the host's addresses from now on: the one that is connected, where it knows others, and each that is
    /// connected later. Callable from any thread.
    ///
    /// - Parameter hostAddresses: At most ``Hello/maximumHostAddresses``.
    public func tell(hostAddresses: [IPAddress]) {
        statisticsStorage.withLock { $0.hostAddresses = hostAddresses.count }
        eventLoop.execute {
            self.loopState.value.hostAddresses = hostAddresses
            self.sendHostAddresses()
        }
    }

    /// Waits until every batch is acknowledged, at most for `timeout`, and closes the connection.
    ///
    /// - Returns: What was not acknowledged in time: flows, and the network bytes that they report.
    public func drain(timeout: TimeAmount) async throws -> (flows: Int, reportedBytes: UInt64) {
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

    /// Gives up the spool directory, after ``drain(timeout:)``.
    ///
    /// - Returns: Whether everything unacknowledged is in it, for the next agent process.
    public func closeSpool() async throws -> Bool {
        guard let spool else { return false }
        return try await eventLoop.flatSubmit { spool.close(within: .seconds(5)) }.get()
    }

    // MARK: - On the event loop

    /// Tells the machine of an event, such as the arrival of a batch, and does what it says.
    private func change(
        having batch: ExportBatch? = nil, _ event: (inout ExportStateMachine) -> ExportStateMachine.Action
    ) {
        let before = loopState.value.machine.keptFrameBytes
        let action = event(&loopState.value.machine)
        let saved = before - loopState.value.machine.keptFrameBytes
        unacknowledgedBytes.subtract(saved, ordering: .relaxed)
        statisticsStorage.withLock { statistics in
            if let batch { statistics.onTheirWay -= FlowAmount(batch) }
            statistics.take(loopState.value.machine)
        }
        perform(action)
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
            for frame in frames { loopState.value.channel?.write(frame, promise: nil) }
            loopState.value.channel?.flush()
            if loopState.value.silentSince == nil { loopState.value.silentSince = .now() }
        case .close:
            loopState.value.channel?.close(promise: nil)
        }
    }

    /// Sends a heartbeat unless the server does not read: it would find heaps of them.
    func sendHeartbeat() {
        guard let channel = loopState.value.channel, channel.isWritable else { return }
        channel.writeAndFlush(AgentMessage.signOfLife, promise: nil)
    }

    /// Sends the host's addresses unless the server knows them, wants the connection closed, or does not read: they follow
    /// when it reads again.
    fileprivate func sendHostAddresses() {
        guard let channel = loopState.value.channel, channel.isWritable, loopState.value.departure == nil,
            let addresses = loopState.value.hostAddresses, addresses != loopState.value.toldAddresses
        else { return }
        loopState.value.toldAddresses = addresses
        channel.writeAndFlush(AgentMessage.frame(hostAddresses: addresses), promise: nil)
    }

    /// Since when the server has said nothing although it owes an acknowledgement; nil while it owes none.
    func silentSince() async throws -> NIODeadline? {
        try await eventLoop.submit { self.loopState.value.silentSince }.get()
    }

    private func checkSilence() {
        guard let since = loopState.value.silentSince, NIODeadline.now() - since > configuration.answerTimeout else {
            return
        }
        loopState.value.silentSince = nil
        statisticsStorage.withLock { $0.silentConnections += 1 }
        logger.warning(
            "the server says nothing although it owes acknowledgements: connecting anew",
            metadata: ["silent_for": "\(configuration.answerTimeout.nanoseconds / 1_000_000_000) s"])
        loopState.value.channel?.close(promise: nil)
    }

    // MARK: - Connecting

    private func connect() {
        let addressNumber = loopState.value.nextAddress
        loopState.value.nextAddress += 1
        connector.connect(addressNumber: addressNumber) { ServerMessageHandler(exporter: self) }
            .whenComplete { result in
                switch result {
                case .success(let connection): self.openedWhenSettled(connection)
                case .failure(let error): self.couldNotConnect(error)
                }
            }
    }

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
        logger.warning("cannot connect to the server; batches are kept and the attempt is repeated", metadata: metadata)
        change { $0.connectionFailed() }
    }

    /// Lets a connection wait for the spool, for less than the time that a server leaves to an introduction.
    private func openedWhenSettled(_ connection: ServerConnector.Connection) {
        guard let spool else { return opened(connection) }
        spool.whenSettled(before: .now() + .seconds(5)) { self.opened(connection) }
    }

    private func opened(_ connection: ServerConnector.Connection) {
        let channel = connection.channel
        let peer = channel.remoteAddress.map { "\($0)" } ?? "unknown"
        logger.info("connected to the server", metadata: ["server": "\(peer)"])
        statisticsStorage.withLock {
            $0.connections += 1
            $0.isConnected = true
        }
        loopState.value.channel = channel
        loopState.value.openedAt = .now()
        var hello = hello
        hello.agentID = loopState.value.machine.nextAgentID
        hello.token = connection.token
        hello.hostAddresses = loopState.value.hostAddresses
        loopState.value.toldAddresses = hello.hostAddresses
        channel.writeAndFlush(hello.frame(), promise: nil)
        channel.closeFuture.hop(to: eventLoop).whenComplete { _ in
            self.logger.info("the connection to the server is closed", metadata: ["server": "\(peer)"])
            self.statisticsStorage.withLock { $0.isConnected = false }
            self.loopState.value.channel = nil
            self.loopState.value.silentSince = nil
            self.loopState.value.departure?.cancel()
            self.loopState.value.departure = nil
            self.change { $0.connectionClosed() }
        }
        change { $0.connectionOpened() }
    }

    // MARK: - What the server says

    fileprivate func received(_ message: ServerMessage) {
        switch message {
        case .ack(let sequences):
            change { machine in
                let frameBytes = machine.keptFrameBytes
                let (acknowledged, action) = machine.acknowledged(sequences)
                if !acknowledged.sequences.isEmpty {
                    let agentID = machine.connectedAs
                    spool?.acknowledge(
                        acknowledged.sequences.map { BatchKey(agentID: agentID, sequence: $0) },
                        frameBytes: frameBytes - machine.keptFrameBytes, oldest: machine.oldest)
                }
                statisticsStorage.withLock {
                    $0.unknownAcknowledgements += UInt64(acknowledged.unknown)
                    // A sign of life comes before the server has decided, too.
                    if !sequences.isEmpty { $0.refusal = nil }
                }
                return action
            }
            if loopState.value.machine.isEmpty { loopState.value.emptied?.succeed() }
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
                "the server does not let this agent in; batches are kept and the attempt is repeated",
                metadata: ["reason": "\(reason)"])
            statisticsStorage.withLock {
                $0.refusal = reason
                $0.connectionFailures["refused", default: 0] += 1
            }
            leave()
        case .goAway(let reason, _, _):
            logger.info("the server asks to connect anew", metadata: ["reason": "\(reason)"])
            leave()
        case .unknown:
            logger.debug("a message of a later protocol was passed over")
        }
        loopState.value.silentSince = loopState.value.machine.awaitsAnswer ? .now() : nil
    }

    /// Goes once the server has acknowledged what it holds, or has taken too long since it asked first.
    private func leave() {
        if loopState.value.departure == nil, let channel = loopState.value.channel {
            loopState.value.departure = eventLoop.scheduleTask(in: configuration.departureTimeout) {
                self.logger.warning(
                    "the server has not acknowledged in time what it held when it asked to connect anew")
                channel.close(promise: nil)
            }
        }
        let wasLong = NIODeadline.now() - loopState.value.openedAt > .seconds(30)
        change { $0.goAway(afterLongConnection: wasLong) }
    }

    fileprivate func failed(_ error: any Error) {
        var metadata: Logger.Metadata = ["error": "\(error)"]
        // With TLS 1.3 a server looks at the agent's certificate when the agent thinks the handshake over.
        if let failure = TLSFailure(error) {
            metadata["remedy"] = "\(failure.agentRemedy)"
            statisticsStorage.withLock { $0.connectionFailures[failure.rawValue, default: 0] += 1 }
        }
        logger.warning("the connection to the server failed", metadata: metadata)
    }
}

/// Hands the server's messages to the exporter.
private final class ServerMessageHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let exporter: FlowExporter

    init(exporter: FlowExporter) { self.exporter = exporter }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            exporter.received(try ServerMessage(decoding: unwrapInboundIn(data)))
        } catch {
            errorCaught(context: context, error: error)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        exporter.sendHostAddresses()
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        exporter.failed(error)
        context.close(promise: nil)
    }
}

extension FlowExporter.Statistics {
    fileprivate mutating func take(_ machine: borrowing ExportStateMachine) {
        kept = machine.keptAmount
        acknowledgedFlows = machine.acknowledgedAmount.flows
        acknowledgedReportedBytes = machine.acknowledgedAmount.bytes
        mergedFlows = machine.mergedFlows
        restored = machine.restoredAmount
        restoredBatches = machine.restoredBatches
        unacknowledgedBatches = machine.keptBatches
        oldestObservation = machine.oldestObservation
    }
}
