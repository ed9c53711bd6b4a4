// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import FlowWire
import LogLimits
public import Logging
public import NIOCore
import NIOPosix
import NIOSSL
import Secrets
import Sockets
import Synchronization
import TransportSecurity

/// Accepts agents and hands their batches to the sink of each connection's event loop.
public final class IngestServer: Sendable {
    /// The identity of this server process, which agents recognise when they return.
    private let id = UInt128.random(in: .min ... .max)
    let gate = ReadGate()
    let ledger = BatchLedger()
    let logger: Logger
    let configuration: Configuration

    /// The maximum size of a receive buffer in bytes. A connection keeps one or two of them while it is open, of this
    /// size while it is busy. NIO's default of 64 KiB would take more than 100 MB for 2,000 agents; the read calls that
    /// it would save are about 0.02 µs of the 0.5 µs that a flow costs.
    private static let receiveBufferBytes = 8 << 10

    /// The limits on an agent's grant, in bytes of frames. The lower one is more than an agent with a thousand busy
    /// connections sends in the time in which a block is gathered and inserted.
    private static let minimumGrant = 32 << 10
    private static let maximumGrant = 4 << 20

    private let group: any EventLoopGroup
    private let sinks: [ObjectIdentifier: NIOLoopBound<any FlowSink>]
    private let statisticsStorage = Mutex(IngestStatistics())
    private let connections: Mutex<ConnectionTable<ObjectIdentifier, any Channel>>
    private let agents = Mutex<[ObjectIdentifier: AgentSummary]>([:])
    /// A limit on the lines of each kind, which agents cause: five in ten seconds.
    private let logLimit = Mutex(LogLimit<String>(lines: 5, per: .seconds(10)))
    private let tls: TLSContextSource?
    private let fileCheck = Mutex<RepeatedTask?>(nil)
    private let listener = Mutex<(any Channel)?>(nil)
    private let acceptFailures: AcceptFailures

    /// Makes a server that does not listen yet; calls `makeSink` once on each of the group's event loops.
    public init(
        group: any EventLoopGroup, configuration: Configuration = Configuration(), logger: Logger,
        makeSink: @escaping @Sendable (any EventLoop) -> any FlowSink
    ) async throws {
        self.group = group
        self.logger = logger
        self.configuration = configuration
        acceptFailures = AcceptFailures(purpose: "agents", logger: logger)
        let limits = configuration.limits
        connections = Mutex(
            ConnectionTable(
                maximum: limits.connections, maximumPerSource: limits.connectionsPerSource,
                maximumUnfinishedBytes: limits.unfinishedBytes,
                maximumUnfinishedBytesPerSource: limits.unfinishedBytesPerSource))
        tls = configuration.tls.map { TLSContextSource($0, isServer: true, logger: logger) }
        var sinks: [ObjectIdentifier: NIOLoopBound<any FlowSink>] = [:]
        for eventLoop in group.makeIterator() {
            sinks[ObjectIdentifier(eventLoop)] =
                try await eventLoop.submit { NIOLoopBound(makeSink(eventLoop), eventLoop: eventLoop) }.get()
        }
        self.sinks = sinks
    }

    /// The server's counters.
    public var statistics: IngestStatistics {
        var statistics = statisticsStorage.withLock { $0 }
        statistics.openConnections = connections.withLock { $0.count }
        statistics.acceptFailures = acceptFailures.count
        statistics.tls = tls?.statistics
        statistics.withdrawnBatches += ledger.givenUpBatches
        statistics.setClocks(of: agents.withLock { Array($0.values) })
        return statistics
    }

    /// Returns at most `count` connected agents, longest silent first.
    public func agents(atMost count: Int) -> [AgentSummary] {
        let agents = agents.withLock { Array($0.values) }
        return Array(agents.sorted { $0.silentSince < $1.silentSince }.prefix(count))
    }

    /// Starts listening. Throws ``CredentialError`` if the TLS files are unusable.
    ///
    /// - Parameters:
    ///   - ownAddress: The address to listen on; nil for all addresses of the host.
    ///   - port: The port; 0 lets the kernel choose one.
    /// - Returns: The address and port listened on.
    public func listen(on ownAddress: IPAddress? = nil, port: Int) async throws -> SocketAddress {
        try await prepareTLS()
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 4096, maximum: Self.receiveBufferBytes)
            )
            // One message per read: data read after the gate closes is outside the memory bound.
            .childChannelOption(.maxMessagesPerRead, value: 1)
        for (option, value) in DeadPeerDetection.serverOptions() {
            bootstrap = bootstrap.childChannelOption(option, value: value)
        }
        bootstrap = bootstrap.childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try self.accept(channel) }
        }
        let channel = try await bootstrap.listen(on: ownAddress, port: port, acceptFailures)
        listener.withLock { $0 = channel }
        guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
        logger.info(
            "listening for agents",
            metadata: ["address": "\(address)", "encryption": "\(tls == nil ? "none" : "TLS")"])
        return address
    }

    /// Returns when the listener is closed, for whatever reason, or when the task is cancelled.
    public func waitUntilListenerCloses() async {
        let (closed, close) = AsyncStream.makeStream(of: Void.self)
        listener.withLock { $0 }?.closeFuture.whenComplete { _ in close.finish() }
        for await _ in closed {}
    }

    private func prepareTLS() async throws {
        guard let tls else { return }
        try await NIOThreadPool.singleton.runIfActive { _ = try tls.refresh() }
        let interval = configuration.fileInterval
        let check = group.next().scheduleRepeatedAsyncTask(initialDelay: interval, delay: interval) { _ in
            NIOThreadPool.singleton.runIfActive(eventLoop: self.group.next()) { _ = try? tls.refresh() }
        }
        fileCheck.withLock { $0 = check }
    }

    /// Adds a new connection of one of the group's event loops to the table, and sets up its pipeline.
    func accept(_ channel: any Channel) throws {
        guard let sink = sinks[ObjectIdentifier(channel.eventLoop)]?.value else {
            preconditionFailure("a connection came up on an event loop of another group")
        }
        let id = ObjectIdentifier(channel)
        let source = channel.remoteAddress?.source ?? "unknown"
        do {
            let evicted = try connections.withLock { table throws(ConnectionError) in
                try table.add(id, channel, from: source)
            }
            evicted?.pipeline.fireUserInboundEventTriggered(EvictedEvent())
        } catch {
            let reason = ConnectionError.reason(of: error)
            update { $0.errors[reason, default: 0] += 1 }
            log(
                reason, .warning, "rejecting agent connection",
                [
                    "error": "\(error)", "reason": "\(reason)",
                    "remote_address": "\(channel.remoteAddress?.unmapped.ipAddress ?? "unknown")",
                ])
            throw error
        }
        channel.closeFuture.whenComplete { _ in self.forget(id) }
        let pipeline = channel.pipeline.syncOperations
        if let context = tls?.current { try pipeline.addHandler(NIOSSLServerHandler(context: context)) }
        let decoder = MeteredFrameDecoder(receiveBufferBytes: Self.receiveBufferBytes) {
            self.note(unfinishedBytes: $0, of: id)
        }
        try pipeline.addHandlers(
            ByteToMessageHandler(decoder),
            AgentConnectionHandler(server: self, sink: sink, source: source, isEncrypted: tls != nil))
    }

    private func note(unfinishedBytes: Int, of id: ObjectIdentifier) {
        for channel in connections.withLock({ $0.note(unfinishedBytes: unfinishedBytes, of: id) }) {
            channel.pipeline.fireUserInboundEventTriggered(UnfinishedFramesEvent())
        }
    }

    /// Pauses or resumes reading from all agents. Callable from any thread, also while a sink takes a batch: the sink
    /// gets no other batch before this returns.
    public func setReading(_ isReading: Bool) {
        guard gate.set(open: isReading), isReading else { return }
        tellConnections(ReadAgain())
    }

    /// Stops accepting agents and reading, and asks the connected agents to reconnect to another replica. Their
    /// connections stay open for acknowledgements.
    public func stopAccepting(reason: String) async {
        let channel = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        do {
            try await channel?.close()
        } catch {
            // Agents whose connections it still accepts are not read, and keep their batches.
            logger.error("cannot close the port for agents", metadata: ["error": "\(error)"])
        }
        gate.lock()
        tellConnections(GoAwayEvent(reason: reason))
    }

    /// Closes every connection.
    public func closeConnections() async {
        fileCheck.withLock { $0?.cancel() }
        let closed = connections.withLock { $0.connections }.map { $0.close() }
        // All at once: closing thousands one after the other takes seconds on a busy machine.
        try? await EventLoopFuture.andAllComplete(closed, on: group.any()).get()
    }

    /// Releases the memory of closed connections.
    public func releaseMemory() {
        connections.withLock { $0.releaseMemory() }
        agents.withLock { $0.releaseMemory() }
    }

    func update(_ change: (inout IngestStatistics) -> Void) { statisticsStorage.withLock { change(&$0) } }

    /// Logs a line, unless many lines of its kind were logged just before.
    func log(_ kind: String, _ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata) {
        guard let suppressed = logLimit.withLock({ $0.admit(kind, at: .now) }) else { return }
        var metadata = metadata
        if suppressed > 0 { metadata["not_logged"] = "\(suppressed)" }
        logger.log(level: level, message, metadata: metadata)
    }

    /// Records that an agent has sent `Hello` and is being examined.
    func noteExamination(on channel: any Channel) {
        connections.withLock { $0.noteExamination(of: ObjectIdentifier(channel)) }
    }

    /// Records that an agent is admitted.
    func note(_ agent: ConnectedAgent, on channel: any Channel) {
        let summary = AgentSummary(
            agent, remoteAddress: channel.remoteAddress?.unmapped.ipAddress ?? "unknown")
        agents.withLock { $0[ObjectIdentifier(channel)] = summary }
        connections.withLock { $0.noteAdmission(of: ObjectIdentifier(channel)) }
    }

    /// Returns the message that tells an agent which server it has reached; nil if the channel is closed.
    func welcome(to channel: any Channel) -> ServerMessage? {
        guard let own = channel.localAddress, let address = own.ipAddress.flatMap({ IPAddress($0) }),
            let port = own.port
        else { return nil }
        return .welcome(
            Welcome(
                serverID: id, address: address, port: UInt16(truncatingIfNeeded: port),
                settlesDoubts: configuration.doubtSettler != nil, grantedBytes: grantedBytes))
    }

    /// The bytes of unacknowledged frames that each agent may have in flight; 0 for no limit. While batches cannot be
    /// stored, that is a single batch.
    var grantedBytes: UInt64 {
        guard let total = configuration.grantedBytes else { return 0 }
        guard gate.isOpen else { return 1 }
        let agents = max(1, statisticsStorage.withLock { $0.connectedAgents })
        return UInt64(min(max(total / agents, Self.minimumGrant), Self.maximumGrant))
    }

    /// Records that a batch has arrived on a connection.
    func noteBatch(on channel: any Channel) {
        let now = ContinuousClock.now
        agents.withLock { agents in
            agents[ObjectIdentifier(channel)]?.lastBatch = now
            agents[ObjectIdentifier(channel)]?.batches += 1
        }
    }

    /// Records how far the clock of an admitted agent's node is ahead of the server's.
    func note(clockLead: Duration, on channel: any Channel) {
        agents.withLock { $0[ObjectIdentifier(channel)]?.clockLead = clockLead }
    }

    private func forget(_ id: ObjectIdentifier) {
        connections.withLock { $0.forget(id) }
        agents.withLock { $0[id] = nil }
    }

    private func tellConnections(_ event: some Sendable) {
        for channel in connections.withLock({ $0.connections }) {
            channel.eventLoop.execute { channel.pipeline.fireUserInboundEventTriggered(event) }
        }
    }
}
