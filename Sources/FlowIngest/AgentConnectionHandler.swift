// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOTLS
import Sockets
import TransportSecurity

/// Handles one agent's connection: passes the channel's events to an ``AgentConnectionStateMachine`` and performs the
/// actions that it returns. A protocol error closes this connection and affects no other.
final class AgentConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ServerMessage
    typealias OutboundOut = ByteBuffer

    private typealias Machine = AgentConnectionStateMachine

    private let server: IngestServer
    private let sink: any FlowSink
    private let source: String
    private var machine: AgentConnectionStateMachine
    private var clock = AgentClock()
    /// Whether a warning about the agent's clock was logged.
    private var isClockReported = false
    /// The scheduled timers, at the places of their raw values.
    private var timers: [Scheduled<Void>?]
    /// The authenticator's task; cancelled when the connection ends.
    private var examination: Task<Void, Never>?

    private static let timerCount = Machine.Timer.allCases.count

    init(server: IngestServer, sink: any FlowSink, source: String, isEncrypted: Bool) {
        self.server = server
        self.sink = sink
        self.source = source
        timers = Array(repeating: nil, count: Self.timerCount)
        var generator = SystemRandomNumberGenerator()
        machine = Machine(server.configuration, isEncrypted: isEncrypted, using: &generator)
    }

    // MARK: - Events

    func channelActive(context: ChannelHandlerContext) {
        server.update { $0.connections += 1 }
        perform(machine.connected(at: context.eventLoop.now), context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        perform(machine.frameReceived(frame, at: context.eventLoop.now, conditions(context)), context)
    }

    func read(context: ChannelHandlerContext) {
        perform(machine.readRequested(at: context.eventLoop.now, conditions(context)), context)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let message = unwrapOutboundIn(data)
        context.write(wrapOutboundOut(frame(of: message)), promise: promise)
        let now = context.eventLoop.now
        switch message {
        case .ack(let sequences, _): perform(machine.acknowledged(sequences, at: now, conditions(context)), context)
        case .held(let held): perform(machine.held(held, at: now, conditions(context)), context)
        case .goAway, .welcome, .settlement, .unknown: break
        }
    }

    /// Returns the frame of a message. Every acknowledgement and heartbeat tells the agent its current grant.
    private func frame(of message: ServerMessage) -> ByteBuffer {
        guard case .ack(let sequences, _) = message else { return message.frame() }
        return ServerMessage.ack(sequences, grantedBytes: server.grantedBytes).frame()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        resumeReading(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ReadAgain: resumeReading(context)
        case let goAway as GoAwayEvent: perform(machine.departureRequested(reason: goAway.reason), context)
        case is UnfinishedFramesEvent: perform(machine.unfinishedFramesExceeded(), context)
        case is EvictedEvent: perform(machine.evicted(), context)
        case TLSUserEvent.handshakeCompleted: perform(machine.handshakeCompleted(), context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        perform(machine.failed(error), context)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        let action = machine.closeRequested()
        examination?.cancel()
        context.close(mode: mode, promise: promise)
        perform(action, context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        perform(machine.disconnected(), context)
        context.fireChannelInactive()
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        perform(machine.readMayResume(at: context.eventLoop.now, conditions(context)), context)
    }

    private func conditions(_ context: ChannelHandlerContext) -> Machine.Conditions {
        Machine.Conditions(isGateOpen: server.gate.isOpen, isWritable: context.channel.isWritable)
    }

    // MARK: - Actions

    private func perform(_ action: Machine.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .nothing: break
        case .all(let actions): for action in actions { perform(action, context) }
        case .decode(let frame): decode(frame, context)
        case .decodeWaitingFrames: decodeWaitingFrames(context)
        case .read: context.read()
        case .write(let message): context.writeAndFlush(wrapOutboundOut(frame(of: message)), promise: nil)
        case .schedule(let timer, let delay): schedule(timer, in: delay, context)
        case .cancel(let timer): timers[timer.rawValue]?.cancel()
        case .examine(let hello): examine(hello, context)
        case .admit(let agent): admit(agent, context)
        case .updateAddresses(let addresses, let agent): sink.agent(agent, hasAddresses: addresses)
        case .confirm(let confirmation, let agent):
            server.ledger.confirm(confirmation, of: AgentIdentity(agent.hello))
        case .settle(let doubts, let agent): settle(doubts, of: agent, context)
        case .countAged: server.update { $0.agedConnections += 1 }
        case .fail(let error, let peer): fail(error, peer, context)
        case .close: close(context: context, mode: .all, promise: nil)
        case .withdraw(let sequences, let agent): withdraw(sequences, of: agent, context)
        case .end(let agent): end(agent)
        }
    }

    private func decode(_ frame: ByteBuffer, _ context: ChannelHandlerContext) {
        do throws(WireError) {
            var time: SendTime?
            let message = try AgentMessage(decoding: frame, sentAt: &time)
            switch consume message {
            case .hello(let hello):
                record(time, context)
                let action = machine.helloReceived(hello, from: Self.address(context), at: context.eventLoop.now)
                perform(action, context)
            case .batch(let batch):
                // Of several bodies in a message the last one counts: a batch behind an urgent body would bypass the gate.
                guard !AgentMessage.isUrgent(frame.readableBytesView) else {
                    throw WireError.notAMessage(frame.readableBytes)
                }
                switch machine.batchReceived(batch.sequence, at: context.eventLoop.now) {
                case .take(let agent): take(batch, sentAt: time, wireBytes: frame.readableBytes, from: agent, context)
                case .drop(let action): perform(action, context)
                }
            case .hostAddresses(let addresses):
                record(time, context)
                perform(machine.hostAddressesReceived(addresses), context)
            case .leaving: machine.leavingReceived()
            case .confirmation(let confirmation): perform(machine.confirmationReceived(confirmation), context)
            case .inDoubt(let doubts): perform(machine.doubtsReceived(doubts), context)
            case .unknown: record(time, context)
            }
        } catch {
            perform(machine.failed(error), context)
        }
    }

    private func decodeWaitingFrames(_ context: ChannelHandlerContext) {
        while true {
            let action = machine.nextWaitingFrame(conditions(context))
            perform(action, context)
            guard case .decode = action else { return }
        }
    }

    /// Records the time at which a message other than a batch was sent, if the message says it.
    private func record(_ time: SendTime?, _ context: ChannelHandlerContext) {
        guard let time else { return }
        let now = server.configuration.clock()
        clock.record(time, at: now, mayHaveWaited: machine.mayHaveWaited(at: context.eventLoop.now))
        reportClock(now, context)
    }

    /// Passes the state of the agent's clock, once the agent is admitted, to the server's list, and logs a warning the
    /// first time that a clock is found to differ.
    private func reportClock(_ now: ClockReading, _ context: ChannelHandlerContext) {
        guard case .admitted(let agent) = machine.state, let lead = clock.lead(at: now) else { return }
        server.note(clockLead: .milliseconds(lead), on: context.channel)
        guard lead.magnitude > UInt64(AgentClock.toleranceMilliseconds), clock.isConfirmed, !isClockReported else {
            return
        }
        isClockReported = true
        var metadata = Self.metadata(agent)
        metadata["clock"] = "\(abs(lead) / 1_000) s \(lead < 0 ? "behind" : "ahead")"
        metadata["remedy"] = "synchronise the node's clock and the server's (NTP, such as chrony)"
        server.log("clock", .warning, "an agent's clock differs; its observation times are corrected", metadata)
    }

    private func take(
        _ batch: consuming ReceivedFlowBatch, sentAt time: SendTime?, wireBytes: Int, from agent: ConnectedAgent,
        _ context: ChannelHandlerContext
    ) {
        if let time {
            let now = server.configuration.clock()
            // Batches are written many at a time, and wait for each other.
            clock.record(time, at: now, mayHaveWaited: true)
            batch.observedAtMilliseconds = clock.observation(batch.observedAtMilliseconds, sentAt: time, now: now)
        }
        let flows = batch.count
        server.update {
            $0.batches += 1
            $0.flows += UInt64(flows)
            $0.wireBytes += UInt64(wireBytes)
        }
        server.noteBatch(on: context.channel)
        let receipt = BatchReceipt(
            identity: BatchIdentity(agent: AgentIdentity(agent.hello), sequence: batch.sequence),
            channel: context.channel, ledger: server.ledger, isConfirming: agent.hello.confirmsHeld)
        if server.ledger.admit(receipt) {
            sink.receive(batch, from: agent, receipt: receipt)
        } else {
            server.update {
                $0.duplicateBatches += 1
                $0.duplicateFlows += UInt64(flows)
            }
        }
    }

    private func withdraw(_ sequences: Set<UInt64>, of agent: ConnectedAgent, _ context: ChannelHandlerContext) {
        let identity = AgentIdentity(agent.hello)
        let owed = sequences.map { BatchIdentity(agent: identity, sequence: $0) }
        let withdrawn = server.ledger.withdraw(owed, of: context.channel, from: sink)
        server.update { $0.withdrawnBatches += UInt64(withdrawn) }
    }

    private func settle(_ doubts: [Doubt], of agent: ConnectedAgent, _ context: ChannelHandlerContext) {
        let (bound, eventLoop) = (
            NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop), context.eventLoop
        )
        // Agents send this only to a server that offers it in its `Welcome`; without a settler, every fate is uncertain.
        guard let settler = server.configuration.doubtSettler else {
            let uncertain = doubts.map { SettledDoubt(token: $0.token, fate: .uncertain) }
            return perform(machine.doubtsSettled(uncertain), context)
        }
        let channel = context.channel
        settler.settle(doubts, isWanted: { channel.isActive }) { settled in
            eventLoop.execute {
                let (handler, context) = bound.value
                handler.perform(handler.machine.doubtsSettled(settled), context)
            }
        }
    }

    private func schedule(_ timer: Machine.Timer, in delay: TimeAmount, _ context: ChannelHandlerContext) {
        timers[timer.rawValue]?.cancel()
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        timers[timer.rawValue] = context.eventLoop.scheduleTask(in: delay) {
            let (handler, context) = bound.value
            let now = context.eventLoop.now
            handler.perform(handler.machine.timerFired(timer, at: now, handler.conditions(context)), context)
        }
    }

    private func examine(_ hello: Hello, _ context: ChannelHandlerContext) {
        guard let authenticator = server.configuration.authenticator else {
            preconditionFailure("an agent is to be examined, but there is no authenticator")
        }
        server.noteExamination(on: context.channel)
        let claim = AgentClaim(hello: hello, source: source)
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        examination = Task {
            let verdict = await authenticator.examine(claim)
            eventLoop.execute { bound.value.handler.settle(verdict, bound.value.context) }
        }
    }

    private func settle(_ verdict: AgentVerdict, _ context: ChannelHandlerContext) {
        examination = nil
        perform(machine.examined(verdict, at: context.eventLoop.now, conditions(context)), context)
    }

    private func admit(_ agent: ConnectedAgent, _ context: ChannelHandlerContext) {
        server.update { $0.connectedAgents += 1 }
        server.note(agent, on: context.channel)
        reportClock(server.configuration.clock(), context)
        if let welcome = server.welcome(to: context.channel) {
            context.writeAndFlush(wrapOutboundOut(welcome.frame()), promise: nil)
        }
        server.log("connected", .info, "agent connected", Self.metadata(agent))
    }

    private func fail(_ error: any Error, _ peer: Machine.Peer, _ context: ChannelHandlerContext) {
        let reason = ConnectionError.reason(of: error)
        server.update { $0.errors[reason, default: 0] += 1 }
        var metadata: Logger.Metadata = ["error": "\(error)", "reason": "\(reason)"]
        switch peer {
        case .agent(let agent): metadata.merge(Self.metadata(agent)) { $1 }
        case .unadmitted(let nodeName):
            metadata["remote_address"] = "\(Self.address(context))"
            if let nodeName { metadata["node"] = "\(nodeName)" }
        }
        if let failure = TLSFailure(error) { metadata["remedy"] = "\(failure.serverRemedy)" }
        server.log(reason, .warning, "closing agent connection", metadata)
        close(context: context, mode: .all, promise: nil)
    }

    private func end(_ agent: ConnectedAgent?) {
        examination?.cancel()
        for timer in timers { timer?.cancel() }
        guard let agent else { return }
        server.update { $0.connectedAgents -= 1 }
        server.log("disconnected", .info, "agent disconnected", Self.metadata(agent))
    }

    private static func address(_ context: ChannelHandlerContext) -> String {
        context.remoteAddress.map { "\($0.unmapped)" } ?? "unknown"
    }

    private static func metadata(_ agent: ConnectedAgent) -> Logger.Metadata {
        [
            "node": "\(agent.hello.nodeName)", "remote_address": "\(agent.remoteAddress)",
            "agent_id": "\(agent.hello.agentID)", "agent_version": "\(agent.hello.softwareVersion)",
        ]
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
