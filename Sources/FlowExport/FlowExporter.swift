// SPDX-License-Identifier: Apache-2.0

public import FlowWire
public import Logging
public import NIOCore
import NIOPosix
import Retry
import Synchronization

/// The agent's side of the connection to a server: keeps every batch until the server says that ClickHouse has it, and
/// connects again, with back-off, for as long as the agent runs.
public final class FlowExporter: Sendable {
    /// Where batches go, and how much may wait.
    public struct Configuration: Sendable {
        /// The server's name or address. All of its addresses are tried.
        public var host: String
        /// The server's port.
        public var port: Int
        /// The bound on frames that wait for their acknowledgement, in bytes; see ``FlowExporter/hasRoom``.
        public var maximumUnacknowledgedBytes: Int
        /// How long a connection attempt may take.
        public var connectTimeout: TimeAmount

        /// Makes a configuration of its parts.
        public init(
            host: String, port: Int, maximumUnacknowledgedBytes: Int = 16 << 20,
            connectTimeout: TimeAmount = .seconds(10)
        ) {
            self.host = host
            self.port = port
            self.maximumUnacknowledgedBytes = maximumUnacknowledgedBytes
            self.connectTimeout = connectTimeout
        }
    }

    /// What has become of the batches so far.
    public struct Statistics: Equatable, Sendable {
        /// Whether a server is there.
        public var isConnected = false
        /// Connections that were opened, and attempts that failed.
        public var connections: UInt64 = 0
        /// Attempts to connect that failed.
        public var failedConnections: UInt64 = 0
        /// Flows acknowledged.
        public var acknowledgedFlows: UInt64 = 0
        /// Network bytes that those flows report.
        public var acknowledgedReportedBytes: UInt64 = 0
        /// Acknowledgements of batches that were not kept.
        public var unknownAcknowledgements: UInt64 = 0
        /// Bytes of frames that wait for their acknowledgement.
        public var unacknowledgedBytes = 0
    }

    private let configuration: Configuration
    private let hello: Hello
    private let group: any EventLoopGroup
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let statisticsStorage = Mutex(Statistics())
    private let loopState: NIOLoopBoundBox<LoopState>

    /// What only the event loop touches.
    private struct LoopState {
        var machine = ExportStateMachine(backoff: Backoff(initial: .milliseconds(500), maximum: .seconds(30)))
        var channel: (any Channel)?
        var emptied: EventLoopPromise<Void>?
    }

    /// Makes an exporter that has not connected yet.
    public init(configuration: Configuration, hello: Hello, group: any EventLoopGroup, logger: Logger) {
        self.configuration = configuration
        self.hello = hello
        self.group = group
        self.logger = logger
        eventLoop = group.next()
        loopState = .makeBoxSendingValue(LoopState(), eventLoop: eventLoop)
    }

    /// What has become of the batches so far.
    public var statistics: Statistics { statisticsStorage.withLock { $0 } }

    /// Whether another collection may be taken out of the kernel. While not, the kernel keeps counting: that costs time
    /// resolution and no bytes.
    public var hasRoom: Bool {
        statisticsStorage.withLock { $0.unacknowledgedBytes } < configuration.maximumUnacknowledgedBytes
    }

    /// Begins to connect.
    public func start() {
        eventLoop.execute { self.perform(self.loopState.value.machine.start()) }
    }

    /// Keeps a batch until it is acknowledged, and sends it as soon as a server is there. Batches must come in ascending
    /// order of their sequence numbers.
    public func enqueue(_ batch: ExportBatch) {
        statisticsStorage.withLock { $0.unacknowledgedBytes += batch.frame.readableBytes }
        eventLoop.execute { self.perform(self.loopState.value.machine.enqueue(batch)) }
    }

    /// Waits until every batch is acknowledged, at most for `timeout`, and closes the connection.
    ///
    /// - Returns: What was not acknowledged in time: flows, and the network bytes that they report.
    public func drain(timeout: TimeAmount) async throws -> (flows: Int, reportedBytes: UInt64) {
        try await eventLoop.flatSubmit {
            let emptied = self.eventLoop.makePromise(of: Void.self)
            if self.loopState.value.machine.isEmpty { emptied.succeed() }
            self.loopState.value.emptied = emptied
            let deadline = self.eventLoop.scheduleTask(in: timeout) { emptied.succeed() }
            return emptied.futureResult.map {
                deadline.cancel()
                let rest = self.loopState.value.machine.unacknowledged
                self.perform(self.loopState.value.machine.stop())
                return rest
            }
        }.get()
    }

    private func perform(_ action: ExportStateMachine.Action) {
        switch action {
        case .nothing: break
        case .connect(let delay):
            eventLoop.scheduleTask(in: TimeAmount(delay)) { self.connect() }
        case .send(let frames):
            for frame in frames { loopState.value.channel?.write(frame, promise: nil) }
            loopState.value.channel?.flush()
        case .close:
            loopState.value.channel?.close(promise: nil)
        }
    }

    private func connect() {
        let peer = "\(configuration.host):\(configuration.port)"
        ClientBootstrap(group: eventLoop)
            .connectTimeout(configuration.connectTimeout)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        ByteToMessageHandler(FrameDecoder()), ServerMessageHandler(exporter: self))
                }
            }
            .connect(host: configuration.host, port: configuration.port)
            .whenComplete { result in
                switch result {
                case .success(let channel): self.opened(channel, peer: peer)
                case .failure(let error):
                    self.statisticsStorage.withLock { $0.failedConnections += 1 }
                    self.logger.warning(
                        "cannot connect to the server; batches are kept and the attempt is repeated",
                        metadata: ["server": "\(peer)", "error": "\(error)"])
                    self.perform(self.loopState.value.machine.connectionFailed())
                }
            }
    }

    private func opened(_ channel: any Channel, peer: String) {
        logger.info("connected to the server", metadata: ["server": "\(peer)"])
        statisticsStorage.withLock {
            $0.connections += 1
            $0.isConnected = true
        }
        loopState.value.channel = channel
        channel.write(hello.frame(), promise: nil)
        channel.flush()
        channel.closeFuture.hop(to: eventLoop).whenComplete { _ in
            self.logger.info("the connection to the server is closed", metadata: ["server": "\(peer)"])
            self.statisticsStorage.withLock { $0.isConnected = false }
            self.loopState.value.channel = nil
            self.perform(self.loopState.value.machine.connectionClosed())
        }
        perform(loopState.value.machine.connectionOpened())
    }

    fileprivate func received(_ message: ServerMessage) {
        switch message {
        case .ack(let sequences):
            let (acknowledged, action) = loopState.value.machine.acknowledged(sequences)
            statisticsStorage.withLock {
                $0.acknowledgedFlows += UInt64(acknowledged.flows)
                $0.acknowledgedReportedBytes &+= acknowledged.reportedBytes
                $0.unknownAcknowledgements += UInt64(acknowledged.unknown)
                $0.unacknowledgedBytes -= acknowledged.frameBytes
            }
            perform(action)
            if loopState.value.machine.isEmpty { loopState.value.emptied?.succeed() }
        case .goAway(let reason, let supportedVersion) where supportedVersion != 0:
            logger.error(
                "the server does not speak this agent's protocol: upgrade the server first, or downgrade the agent",
                metadata: [
                    "reason": "\(reason)", "server_version": "\(supportedVersion)",
                    "agent_version": "\(hello.protocolVersion)",
                ])
            perform(loopState.value.machine.goAway())
        case .goAway(let reason, _):
            logger.info("the server asks to connect anew", metadata: ["reason": "\(reason)"])
            perform(loopState.value.machine.goAway())
        case .unknown:
            logger.debug("a message of a later protocol was passed over")
        }
    }

    fileprivate func failed(_ error: any Error) {
        logger.warning("the connection to the server failed", metadata: ["error": "\(error)"])
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

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        exporter.failed(error)
        context.close(promise: nil)
    }
}
