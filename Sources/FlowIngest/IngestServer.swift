// SPDX-License-Identifier: Apache-2.0

import FlowWire
public import Logging
public import NIOCore
import NIOPosix
import Synchronization

/// Accepts agents and hands their batches to the sink of each connection's event loop.
public final class IngestServer: Sendable {
    let gate = ReadGate()
    let ledger = BatchLedger()
    let logger: Logger

    /// How long a new connection may take to introduce itself.
    let helloDeadline: TimeAmount

    /// A connection keeps one or two buffers of this size for as long as it lives. NIO would let them grow to 64 KiB, more
    /// than a hundred megabytes for 2,000 agents; the calls that this would save are about 0.02 µs of a flow's half.
    private static let receiveBufferBytes = 8 << 10

    private let group: any EventLoopGroup
    private let sinks: [ObjectIdentifier: NIOLoopBound<any FlowSink>]
    private let statisticsStorage = Mutex(IngestStatistics())
    private let connections = Mutex<[ObjectIdentifier: any Channel]>([:])
    private let listener = Mutex<(any Channel)?>(nil)

    /// Makes a server that does not listen yet, and with `makeSink` one sink for each of the group's event loops.
    public init(
        group: any EventLoopGroup, logger: Logger, helloDeadline: TimeAmount = .seconds(10),
        makeSink: @escaping @Sendable (any EventLoop) -> any FlowSink
    ) async throws {
        self.group = group
        self.logger = logger
        self.helloDeadline = helloDeadline
        var sinks: [ObjectIdentifier: NIOLoopBound<any FlowSink>] = [:]
        for eventLoop in group.makeIterator() {
            sinks[ObjectIdentifier(eventLoop)] =
                try await eventLoop.submit { NIOLoopBound(makeSink(eventLoop), eventLoop: eventLoop) }.get()
        }
        self.sinks = sinks
    }

    /// What has arrived so far.
    public var statistics: IngestStatistics { statisticsStorage.withLock { $0 } }

    /// Begins to listen.
    ///
    /// - Returns: The address that is listened on; its port is the kernel's choice where `port` is 0.
    public func listen(host: String, port: Int) async throws -> SocketAddress {
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.receiveBufferBytes))
        for (option, value) in DeadPeerDetection.serverOptions {
            bootstrap = bootstrap.childChannelOption(option, value: value)
        }
        let channel =
            try await bootstrap
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let sink = self.sinks[ObjectIdentifier(channel.eventLoop)]?.value else {
                        preconditionFailure("a connection came up on an event loop of another group")
                    }
                    self.connections.withLock { $0[ObjectIdentifier(channel)] = channel }
                    try channel.pipeline.syncOperations.addHandlers(
                        ByteToMessageHandler(FrameDecoder()), AgentConnectionHandler(server: self, sink: sink))
                }
            }
            .bind(host: host, port: port)
            .get()
        listener.withLock { $0 = channel }
        guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
        logger.info("listening for agents", metadata: ["address": "\(address)"])
        return address
    }

    /// Stops or resumes reading from all agents. Callable from any thread.
    public func setReading(_ isReading: Bool) {
        guard gate.set(open: isReading), isReading else { return }
        tellConnections(ReadAgain())
    }

    /// Accepts no more agents, reads no more, and asks those that are connected to go elsewhere. Their connections stay
    /// open for acknowledgements.
    public func stopAccepting(reason: String) async {
        let channel = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        do {
            try await channel?.close()
        } catch {
            // Agents that it still lets in are heard by nobody, and stay with their batches.
            logger.error("the port that agents dial is not closed", metadata: ["error": "\(error)"])
        }
        gate.lock()
        tellConnections(GoAwayEvent(reason: reason))
    }

    /// Closes every connection.
    public func closeConnections() async {
        for channel in connections.withLock({ Array($0.values) }) { try? await channel.close() }
    }

    func update(_ change: (inout IngestStatistics) -> Void) { statisticsStorage.withLock { change(&$0) } }

    func forget(_ channel: any Channel) {
        connections.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(channel)) }
    }

    private func tellConnections(_ event: some Sendable) {
        for channel in connections.withLock({ Array($0.values) }) {
            channel.pipeline.fireUserInboundEventTriggered(event)
        }
    }
}
