// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOTLS
import Sockets
import TransportSecurity

/// Handles one agent's connection: `Hello` first, then batches. A protocol error closes this connection and affects no
/// other.
final class AgentConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ServerMessage
    typealias OutboundOut = ByteBuffer

    /// The limit on ``waiting`` frames: more than the batches of one read, as a batch takes at least 50 bytes.
    private static let maximumWaiting = 512

    /// The minimum time between two address updates to the sink.
    private static let addressInterval = TimeAmount.seconds(1)

    private enum Phase {
        /// The TLS handshake is in progress.
        case handshake
        /// `Hello` has not arrived.
        case unknown
        /// `Hello` has arrived, and the authenticator is examining it.
        case examined
        /// The agent is admitted.
        case known(ConnectedAgent)
        /// The connection is being closed: further input is ignored.
        case ending
    }

    private let server: IngestServer
    private let sink: any FlowSink
    private let source: String
    private var phase: Phase
    /// The admitted agent, kept beyond ``phase`` for the log lines at the end of the connection.
    private var agent: ConnectedAgent?
    /// The timer that closes the connection when the handshake, `Hello` or the agent's next message is late.
    private var deadline: Scheduled<Void>?
    private var lastMessage = NIODeadline.uptimeNanoseconds(0)
    private var age: Scheduled<Void>?
    /// The timer for the expiry of the token by which the agent was admitted.
    private var expiry: Scheduled<Void>?
    private var heartbeat: RepeatedTask?
    /// The authenticator's task; cancelled when the connection ends.
    private var examination: Task<Void, Never>?
    private var isReadHeldBack = false
    /// Frames that arrived while reading is paused. When a peer closes or resets its connection, NIO delivers
    /// everything that is left of it. These frames are dropped with the connection, because the peer sends them to
    /// another server.
    private var waiting: [ByteBuffer] = []
    /// The sequence numbers of the batches in flight, which are not acknowledged yet.
    private var inFlight: Set<UInt64> = []
    /// The newest addresses of the agent's host, if they are not passed to the sink yet.
    private var newAddresses: [IPAddress]?
    /// The timer for the next address update to the sink; nil if one may be passed on at once.
    private var addressPause: Scheduled<Void>?

    init(server: IngestServer, sink: any FlowSink, source: String, isEncrypted: Bool) {
        self.server = server
        self.sink = sink
        self.source = source
        phase = isEncrypted ? .handshake : .unknown
    }

    private var limits: IngestServer.Limits { server.configuration.limits }

    func channelActive(context: ChannelHandlerContext) {
        server.update { $0.connections += 1 }
        lastMessage = context.eventLoop.now
        awaitNextPhase(context)
        if case .unknown = phase { startHeartbeat(context) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastMessage = context.eventLoop.now
        if case .ending = phase { return }
        // This read was issued before reading was paused. The undecoded frame takes less than a third of the memory of
        // its rows, so it is kept as it is.
        if !mayRead(context) { isReadHeldBack = true }
        if isReadHeldBack {
            keep(context, unwrapInboundIn(data))
        } else {
            receive(context, unwrapInboundIn(data))
        }
    }

    private func keep(_ context: ChannelHandlerContext, _ frame: ByteBuffer) {
        let isExamined = if case .examined = phase { true } else { false }
        // A heartbeat has done its work by arriving. During the examination it counts towards the limit, because no
        // agent sends many before it is admitted.
        if frame.readableBytes == 0, !isExamined { return }
        if waiting.count < Self.maximumWaiting {
            waiting.append(frame)
        } else if isExamined {
            fail(context, ConnectionError.tooManyWaiting(limit: Self.maximumWaiting))
        } else {
            // This much arrives while reading is paused only from a peer that has gone.
            close(context: context, mode: .all, promise: nil)
        }
    }

    private func takeWaiting(_ context: ChannelHandlerContext) {
        let frames = waiting
        waiting = []
        for (index, frame) in frames.enumerated() {
            if case .ending = phase { return }
            guard mayRead(context) else {
                isReadHeldBack = true
                return waiting = Array(frames[index...])
            }
            receive(context, frame)
        }
    }

    private func receive(_ context: ChannelHandlerContext, _ frame: ByteBuffer) {
        do {
            switch try AgentMessage(decoding: frame) {
            case .hello(let hello): try introduce(context, hello)
            case .batch(let batch): try take(context, batch, wireBytes: frame.readableBytes)
            case .hostAddresses(let addresses):
                guard let agent else {
                    throw ConnectionError.unexpectedMessage("the host's addresses came before Hello")
                }
                update(context, addresses, of: agent)
            case .unknown: break
            }
        } catch {
            fail(context, error)
        }
    }

    /// Passes addresses to the sink, at most once per ``addressInterval``. Of several updates in one interval, only the
    /// newest is passed on.
    private func update(_ context: ChannelHandlerContext, _ addresses: [IPAddress], of agent: ConnectedAgent) {
        guard addressPause == nil else { return newAddresses = addresses }
        sink.agent(agent, hasAddresses: addresses)
        addressPause = schedule(context, in: Self.addressInterval) { handler, context in
            handler.addressPause = nil
            guard let addresses = handler.newAddresses else { return }
            handler.newAddresses = nil
            handler.update(context, addresses, of: agent)
        }
    }

    private func take(
        _ context: ChannelHandlerContext, _ batch: consuming ReceivedFlowBatch, wireBytes: Int
    ) throws {
        guard let agent else { throw ConnectionError.unexpectedMessage("a batch came before Hello") }
        let flows = batch.count
        server.update {
            $0.batches += 1
            $0.flows += UInt64(flows)
            $0.wireBytes += UInt64(wireBytes)
        }
        server.noteBatch(on: context.channel)
        inFlight.insert(batch.sequence)
        let receipt = BatchReceipt(
            identity: BatchIdentity(agent: AgentIdentity(agent.hello), sequence: batch.sequence),
            channel: context.channel, ledger: server.ledger)
        if server.ledger.admit(receipt) {
            sink.receive(batch, from: agent, receipt: receipt)
        } else {
            server.update {
                $0.duplicateBatches += 1
                $0.duplicateFlows += UInt64(flows)
            }
        }
    }

    // MARK: - Introduction

    private func introduce(_ context: ChannelHandlerContext, _ hello: Hello) throws {
        guard agent == nil else { throw ConnectionError.unexpectedMessage("a second Hello came") }
        guard (1...Hello.currentProtocolVersion).contains(hello.protocolVersion) else {
            let error = ConnectionError.unsupportedVersion(hello.protocolVersion)
            say(
                context,
                .goAway(reason: "\(error)", supportedProtocolVersion: Hello.currentProtocolVersion))
            throw error
        }
        guard !hello.nodeName.isEmpty else { throw ConnectionError.noNodeName }
        deadline?.cancel()
        guard let authenticator = server.configuration.authenticator else { return admit(context, hello, for: nil) }
        phase = .examined
        server.noteExamination(on: context.channel)
        let claim = AgentClaim(hello: hello, source: source)
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        examination = Task {
            let verdict = await authenticator.examine(claim)
            eventLoop.execute { bound.value.handler.settle(bound.value.context, hello, verdict) }
        }
    }

    private func settle(_ context: ChannelHandlerContext, _ hello: Hello, _ verdict: AgentVerdict) {
        examination = nil
        guard case .examined = phase else { return }
        switch verdict {
        case .admitted(let lifetime):
            admit(context, hello, for: lifetime.map { TimeAmount($0) })
            readAgain(context)
        case .refused(let reason, let explanation):
            say(context, .goAway(reason: explanation, isRefusal: true))
            fail(context, ConnectionError.notAdmitted(reason: reason, explanation: explanation), of: hello)
        case .undecided(let reason, let explanation):
            say(context, .goAway(reason: explanation))
            fail(context, ConnectionError.notAdmitted(reason: reason, explanation: explanation), of: hello)
        }
    }

    private func admit(_ context: ChannelHandlerContext, _ hello: Hello, for lifetime: TimeAmount?) {
        var hello = hello
        hello.token = nil
        let addresses = hello.hostAddresses
        hello.hostAddresses = nil
        let agent = ConnectedAgent(
            hello: hello, remoteAddress: context.remoteAddress.map { "\($0.unmapped)" } ?? "unknown")
        self.agent = agent
        phase = .known(agent)
        lastMessage = context.eventLoop.now
        server.update { $0.connectedAgents += 1 }
        server.note(agent, on: context.channel)
        server.log("connected", .info, "agent connected", Self.metadata(agent))
        if let addresses { update(context, addresses, of: agent) }
        awaitNextMessage(context, limits.idleDeadline)
        if let lifetime { expiry = schedule(context, in: lifetime) { $0.fail($1, ConnectionError.expired) } }
        if let age = connectionAge(lifetime) { grow(context, age) }
    }

    /// Returns the age at which the agent is asked to reconnect; nil for never. That is `departureDeadline` before its
    /// token expires, so that acknowledgements can still arrive, or half of the token's lifetime if that is later.
    private func connectionAge(_ lifetime: TimeAmount?) -> TimeAmount? {
        let configuration = server.configuration
        let own = configuration.maximumConnectionAge.map {
            TimeAmount.nanoseconds(Int64(Double($0.nanoseconds) * .random(in: 0.9...1.1)))
        }
        guard let lifetime else { return own }
        let left = max(lifetime - configuration.departureDeadline, .nanoseconds(lifetime.nanoseconds / 2))
        return min(own ?? left, left)
    }

    // MARK: - Deadlines

    private func awaitNextPhase(_ context: ChannelHandlerContext) {
        deadline?.cancel()
        let isHandshake = if case .handshake = phase { true } else { false }
        let limit = isHandshake ? limits.handshakeDeadline : limits.helloDeadline
        deadline = schedule(context, in: limit) { handler, context in
            // The peer cannot be late while the server does not read: the deadline starts again when reading resumes.
            guard !handler.isReadHeldBack else { return handler.awaitReading(context) }
            handler.fail(context, isHandshake ? ConnectionError.noHandshake(limit) : .noHello(limit))
        }
    }

    /// Closes a connection on which reading has been paused for too long: it may belong to no agent, and takes an
    /// agent's place.
    private func awaitReading(_ context: ChannelHandlerContext) {
        let limit = limits.idleDeadline
        deadline = schedule(context, in: limit) { handler, context in
            handler.fail(context, ConnectionError.notRead(limit))
        }
    }

    private func awaitNextMessage(_ context: ChannelHandlerContext, _ wait: TimeAmount) {
        deadline = schedule(context, in: wait) { handler, context in
            let limit = handler.limits.idleDeadline
            let isReadable = !handler.isReadHeldBack || !context.channel.isWritable
            let silence = isReadable ? context.eventLoop.now - handler.lastMessage : .zero
            if silence < limit {
                handler.awaitNextMessage(context, limit - silence)
            } else {
                handler.fail(context, ConnectionError.idle(limit))
            }
        }
    }

    /// Asks the agent to reconnect after `wait`. While batches cannot be stored, postpones that by 10 s at a time: the
    /// agent would only send another replica the batches that this one holds.
    private func grow(_ context: ChannelHandlerContext, _ wait: TimeAmount) {
        age = schedule(context, in: wait) { handler, context in
            guard handler.server.gate.isOpen else { return handler.grow(context, .seconds(10)) }
            handler.sendAway(context, reason: "the connection has reached its maximum age or that of its token")
            handler.server.update { $0.agedConnections += 1 }
        }
    }

    private func sendAway(_ context: ChannelHandlerContext, reason: String) {
        say(context, .goAway(reason: reason))
        age?.cancel()
        let limit = server.configuration.departureDeadline
        age = schedule(context, in: limit) { handler, context in
            handler.fail(context, ConnectionError.stayed(limit))
        }
    }

    private func schedule(
        _ context: ChannelHandlerContext, in wait: TimeAmount,
        _ body: @escaping (AgentConnectionHandler, ChannelHandlerContext) -> Void
    ) -> Scheduled<Void> {
        let bound = NIOLoopBound((handler: self, context: context, body: body), eventLoop: context.eventLoop)
        return context.eventLoop.scheduleTask(in: wait) {
            bound.value.body(bound.value.handler, bound.value.context)
        }
    }

    // MARK: - Responses

    /// Sends heartbeats, whether or not ClickHouse accepts batches, and also before `Hello` is read: without
    /// heartbeats, the agent would leave a server that is only waiting.
    private func startHeartbeat(_ context: ChannelHandlerContext) {
        let interval = server.configuration.heartbeatInterval
        let channel = context.channel
        heartbeat = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            if channel.isWritable { channel.writeAndFlush(ServerMessage.ack([]), promise: nil) }
        }
    }

    private func say(_ context: ChannelHandlerContext, _ message: ServerMessage) {
        context.writeAndFlush(wrapOutboundOut(message.frame()), promise: nil)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let message = unwrapOutboundIn(data)
        context.write(wrapOutboundOut(message.frame()), promise: promise)
        guard case .ack(let sequences) = message, !sequences.isEmpty else { return }
        for sequence in sequences { inFlight.remove(sequence) }
        readAgain(context)
    }

    // MARK: - Closing

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(context, error)
    }

    private func fail(_ context: ChannelHandlerContext, _ error: any Error, of hello: Hello? = nil) {
        if case .ending = phase { return }
        phase = .ending
        let reason = ConnectionError.reason(of: error)
        server.update { $0.errors[reason, default: 0] += 1 }
        var metadata: Logger.Metadata = ["error": "\(error)", "reason": "\(reason)"]
        if let agent {
            metadata.merge(Self.metadata(agent)) { $1 }
        } else {
            metadata["remote_address"] = "\(context.remoteAddress.map { "\($0.unmapped)" } ?? "unknown")"
            if let hello { metadata["node"] = "\(hello.nodeName)" }
        }
        if let failure = TLSFailure(error) { metadata["remedy"] = "\(failure.serverRemedy)" }
        server.log(reason, .warning, "a connection is closed for what its peer sent or is", metadata)
        close(context: context, mode: .all, promise: nil)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        phase = .ending
        examination?.cancel()
        context.close(mode: mode, promise: promise)
        // Lets the peer's TLS close_notify be read.
        readAgain(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        phase = .ending
        examination?.cancel()
        waiting = []
        deadline?.cancel()
        age?.cancel()
        expiry?.cancel()
        addressPause?.cancel()
        heartbeat?.cancel()
        if let agent {
            server.update { $0.connectedAgents -= 1 }
            server.log("disconnected", .info, "agent disconnected", Self.metadata(agent))
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

    /// Whether the peer may be read. Reading also pauses while the peer does not drain its acknowledgements.
    private func mayRead(_ context: ChannelHandlerContext) -> Bool {
        switch phase {
        case .handshake, .ending: true
        case .examined: false
        case .unknown: server.gate.isOpen && context.channel.isWritable
        case .known:
            server.gate.isOpen && inFlight.count < limits.batchesInFlight && context.channel.isWritable
        }
    }

    func read(context: ChannelHandlerContext) {
        guard mayRead(context) else { return isReadHeldBack = true }
        if isReadHeldBack { resume(context) }
        // The waiting frames may have reached the limit.
        if mayRead(context) { context.read() } else { isReadHeldBack = true }
    }

    private func readAgain(_ context: ChannelHandlerContext) {
        if isReadHeldBack { read(context: context) }
    }

    private func resume(_ context: ChannelHandlerContext) {
        isReadHeldBack = false
        lastMessage = context.eventLoop.now
        if case .unknown = phase { awaitNextPhase(context) }
        takeWaiting(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        readAgain(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ReadAgain: readAgain(context)
        case let goAway as GoAwayEvent:
            say(context, .goAway(reason: goAway.reason))
        case is UnfinishedFramesEvent:
            fail(context, ConnectionError.unfinishedFrames)
        case is EvictedEvent:
            fail(context, ConnectionError.tooManyConnections(limit: limits.connections))
        case TLSUserEvent.handshakeCompleted:
            if case .handshake = phase {
                phase = .unknown
                awaitNextPhase(context)
                startHeartbeat(context)
            }
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }
}

/// Sent to every connection when the gate opens.
struct ReadAgain: Sendable {}

/// Sent to every connection to make its agent reconnect to another replica.
struct GoAwayEvent: Sendable {
    let reason: String
}

/// Sent to the connection with the oldest unfinished frame when unfinished frames take too much memory.
struct UnfinishedFramesEvent: Sendable {}

/// Sent to the connection that is evicted for a new one when there are too many.
struct EvictedEvent: Sendable {}
