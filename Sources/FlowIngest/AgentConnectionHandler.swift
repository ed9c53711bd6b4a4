// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Logging
import NIOCore

/// One agent's connection: first `Hello`, then batches. Anything else ends it, and costs nobody else anything.
final class AgentConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How often an agent hears that the server is alive, whether or not ClickHouse is.
    private static let heartbeatInterval = TimeAmount.seconds(15)

    private let server: IngestServer
    private let sink: any FlowSink
    private var agent: ConnectedAgent?
    private var helloTimeout: Scheduled<Void>?
    private var heartbeat: RepeatedTask?
    private var isReadHeldBack = false
    private var hasFailed = false

    init(server: IngestServer, sink: any FlowSink) {
        self.server = server
        self.sink = sink
    }

    func channelActive(context: ChannelHandlerContext) {
        server.update { $0.connections += 1 }
        awaitHello(context)
        context.fireChannelActive()
    }

    private func awaitHello(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        helloTimeout = context.eventLoop.scheduleTask(in: server.helloDeadline) {
            let (handler, context) = bound.value
            // What is not read cannot be late: the time begins anew when reading resumes.
            guard !handler.isReadHeldBack else { return }
            let seconds = handler.server.helloDeadline.nanoseconds / 1_000_000_000
            handler.fail(context, ConnectionError.noHello(seconds: seconds))
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasFailed else { return }
        do {
            try receive(context, try AgentMessage(decoding: unwrapInboundIn(data)))
        } catch {
            fail(context, error)
        }
    }

    private func receive(_ context: ChannelHandlerContext, _ message: consuming AgentMessage) throws {
        switch consume message {
        case .hello(let hello):
            try introduce(context, hello)
        case .batch(let batch):
            guard let agent else {
                throw ConnectionError.unexpectedMessage("a batch came before Hello")
            }
            let flows = batch.count
            server.update {
                $0.batches += 1
                $0.flows += UInt64(flows)
            }
            let receipt = BatchReceipt(
                channel: context.channel,
                identity: BatchIdentity(agent: agent.hello.agentID, sequence: batch.sequence), ledger: server.ledger)
            if server.ledger.admit(receipt) {
                sink.receive(batch, from: agent, receipt: receipt)
            } else {
                server.update { $0.duplicateBatches += 1 }
            }
        case .unknown:
            break
        }
    }

    private func introduce(_ context: ChannelHandlerContext, _ hello: Hello) throws {
        guard agent == nil else { throw ConnectionError.unexpectedMessage("a second Hello came") }
        guard (1...Hello.currentProtocolVersion).contains(hello.protocolVersion) else {
            let error = ConnectionError.unsupportedVersion(hello.protocolVersion)
            let goAway = ServerMessage.goAway(
                reason: "\(error)", supportedProtocolVersion: Hello.currentProtocolVersion)
            context.writeAndFlush(wrapOutboundOut(goAway.frame()), promise: nil)
            throw error
        }
        guard !hello.nodeName.isEmpty else { throw ConnectionError.noNodeName }
        helloTimeout?.cancel()
        let agent = ConnectedAgent(
            hello: hello, remoteAddress: context.remoteAddress.map { "\($0)" } ?? "unknown")
        self.agent = agent
        server.update { $0.connectedAgents += 1 }
        server.logger.info("agent connected", metadata: Self.metadata(agent))
        let channel = context.channel
        heartbeat = context.eventLoop.scheduleRepeatedTask(
            initialDelay: Self.heartbeatInterval, delay: Self.heartbeatInterval
        ) { _ in
            channel.writeAndFlush(ServerMessage.ack([]).frame(), promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(context, error)
    }

    private func fail(_ context: ChannelHandlerContext, _ error: any Error) {
        guard !hasFailed else { return }
        hasFailed = true
        server.update { $0.errors[ConnectionError.reason(of: error), default: 0] += 1 }
        var metadata: Logger.Metadata = ["error": "\(error)"]
        if let agent {
            metadata.merge(Self.metadata(agent)) { $1 }
        } else {
            metadata["remote_address"] = "\(context.remoteAddress.map { "\($0)" } ?? "unknown")"
        }
        server.logger.warning("a connection is closed for what its peer sent", metadata: metadata)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        helloTimeout?.cancel()
        heartbeat?.cancel()
        server.forget(context.channel)
        if let agent {
            server.update { $0.connectedAgents -= 1 }
            server.logger.info("agent disconnected", metadata: Self.metadata(agent))
        }
        context.fireChannelInactive()
    }

    private static func metadata(_ agent: ConnectedAgent) -> Logger.Metadata {
        [
            "node": "\(agent.hello.nodeName)", "remote_address": "\(agent.remoteAddress)",
            "agent_id": "\(agent.hello.agentID)", "agent_version": "\(agent.hello.softwareVersion)",
        ]
    }

    // MARK: - Backpressure

    func read(context: ChannelHandlerContext) {
        if server.gate.isOpen {
            context.read()
        } else {
            isReadHeldBack = true
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ReadAgain where isReadHeldBack:
            isReadHeldBack = false
            if agent == nil {
                helloTimeout?.cancel()
                awaitHello(context)
            }
            read(context: context)
        case let goAway as GoAwayEvent:
            let message = ServerMessage.goAway(reason: goAway.reason, supportedProtocolVersion: 0)
            context.writeAndFlush(wrapOutboundOut(message.frame()), promise: nil)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }
}

/// Told to every connection when the gate opens.
struct ReadAgain: Sendable {}

/// Told to every connection when its agent shall go elsewhere.
struct GoAwayEvent: Sendable {
    let reason: String
}
