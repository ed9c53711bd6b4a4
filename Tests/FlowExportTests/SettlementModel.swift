// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Foundation
import NIOCore
import TestSupport
import Testing

/// A model of one agent with a spool directory, several server processes and ClickHouse, which any sequence of faults may
/// strike: connections are cut, servers are killed, frozen and thawed, the agent is killed and restarted, and ClickHouse is
/// away.
///
/// The agent is the real ``ExportStateMachine``. A server here is what the protocol demands of one: it announces a block,
/// inserts it once the agent has confirmed it, asks for fences before it acknowledges, and settles doubts by fencing.
struct SettlementModel {
    /// What a history may contain beyond faults of connections and processes.
    struct Rules {
        /// Whether some servers insert without announcing, and some fates cannot be found out.
        var hasUncertainty = false
        var restartsAgent = true
    }

    /// Remembers tokens for ever. A block is stored once, unless a fence was stored under its token before.
    struct ClickHouse {
        var isAway = false
        private var storedTokens: Set<UInt128> = []
        private(set) var fences: Set<UInt128> = []
        /// The number of times that each batch is stored.
        private(set) var copies: [BatchKey: Int] = [:]

        mutating func insert(_ keys: some Sequence<BatchKey>, under token: UInt128) {
            guard !fences.contains(token), storedTokens.insert(token).inserted else { return }
            for key in keys { copies[key, default: 0] += 1 }
        }

        mutating func fence(_ token: UInt128) -> SettledDoubt.Fate {
            if storedTokens.contains(token) { return .stored }
            fences.insert(token)
            return .notStored
        }
    }

    /// One connection, with the messages that neither side has read yet.
    final class Connection {
        enum FromAgent {
            case hello(AgentID)
            case frame(ByteBuffer)
            case leaving
            case end
        }

        let number: Int
        let server: Server
        var toServer: [FromAgent] = []
        var toAgent: [ServerMessage] = []
        /// The agent process whose batches it carries, once the server has read that.
        var agentID: AgentID?
        var isOpenAtAgent = true
        var isOpenAtServer = true

        init(_ number: Int, to server: Server) { (self.number, self.server) = (number, server) }
    }

    /// A server process.
    final class Server {
        enum Place {
            case gathered
            case inBlock
            case stored
        }

        final class Block {
            let token: UInt128
            var keys: Set<BatchKey> = []
            /// The numbers of the connections whose confirmation is awaited.
            var unconfirmed: Set<Int> = []
            var isBegun = false

            init(_ token: UInt128) { self.token = token }
        }

        let id: UInt128
        let settlesDoubts: Bool
        var isFrozen = false
        var places: [BatchKey: Place] = [:]
        /// The connection on which each batch has arrived last. What an older one still brings about it is out of date.
        var arrivals: [BatchKey: Int] = [:]
        var blocks: [Block] = []
        /// Blocks whose insert has returned, which takes as long as ClickHouse likes.
        var returned: [Block] = []
        var doubts: [(connection: Connection, token: UInt128)] = []

        init(_ id: UInt128, settlesDoubts: Bool) { (self.id, self.settlesDoubts) = (id, settlesDoubts) }

        /// Gives up a block before its insert; its batches wait for another.
        func void(_ block: Block) {
            blocks.removeAll { $0 === block }
            for key in block.keys { places[key] = .gathered }
        }
    }

    private static let batches = (1...40).map { ExportBatch.test(UInt64($0)) }

    private let rules: Rules
    private var generator: SeededGenerator
    private var clickHouse = ClickHouse()
    /// Inserts on their way to ClickHouse; a dead server's may arrive too.
    private var inserts: [(server: Server, block: Server.Block)] = []
    private var servers: [Server] = []
    /// The connections that either side believes to be open.
    private var connections: [Connection] = []
    private var (lastServer, lastToken, lastConnection, lastProcess) = (UInt128(0), UInt128(0), 0, UInt128(0))

    // The agent.
    private var agentID = AgentID(bits: 0)
    private var machine: ExportStateMachine
    private var lastSequence = 0
    private var isAttemptAwaited = false
    /// The agent's open connection.
    private var connection: Connection?
    private var enqueued: Set<BatchKey> = []
    /// Batches whose acknowledgement a kill may remove from the log.
    private var acknowledged: [SpooledBatch] = []
    private var doubtfulBatches: UInt64 = 0

    init(seed: UInt64, rules: Rules = Rules()) {
        self.rules = rules
        generator = SeededGenerator(seed: seed)
        machine = ExportStateMachine(agentID: agentID, backoff: .serverConnection, mergeAboveBytes: .max)
        for _ in 0..<2 { startServer() }
        perform(machine.start())
    }

    /// Runs a history, ends all faults, and checks what is stored.
    mutating func run(steps: Int) {
        for _ in 0..<steps { step() }
        recover()
        let isAcknowledged = machine.isEmpty
        #expect(isAcknowledged, "everything is acknowledged once faults end")
        let lost = enqueued.filter { clickHouse.copies[$0] == nil }
        #expect(lost.isEmpty, "lost")
        let twice = clickHouse.copies.values.reduce(0) { $0 + $1 - 1 }
        let counted = doubtfulBatches + machine.doubtfulBatches
        #expect(twice <= counted, "stored twice")
        #expect(rules.hasUncertainty || counted == 0)
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }

    private mutating func step() {
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<12: enqueue()
        case 12..<20: connect()
        case 20..<42: readAtServer()
        case 42..<60: readAtAgent()
        case 60..<68: announce(at: anyServer())
        case 68..<74: beginInsert(at: anyServer())
        case 74..<79: executeInsert()
        case 79..<83: handleReturn(at: anyServer())
        case 83..<87: settle(at: anyServer())
        case 87..<90: if let connection { cut(connection) }
        case 90: kill(anyServer())
        case 91, 92: anyServer().isFrozen.toggle()
        case 93: leaveSilentServer()
        case 94, 95: if let connection { send(.goAway(reason: ""), on: connection) }
        case 96: if rules.restartsAgent { restartAgent() }
        case 97: clickHouse.isAway.toggle()
        case 98: if servers.count < 4 { startServer() }
        default: perform(machine.departureFailed())
        }
    }

    /// Ends all faults, and lets everything happen that is due.
    private mutating func recover() {
        clickHouse.isAway = false
        for server in servers { server.isFrozen = false }
        for _ in 0..<400 where !(machine.isEmpty && connections.allSatisfy(\.toServer.isEmpty)) {
            connect()
            while connections.contains(where: { !$0.toServer.isEmpty }) || connection?.toAgent.isEmpty == false {
                readAtServer()
                readAtAgent()
            }
            for server in servers {
                announce(at: server)
                beginInsert(at: server)
                executeInsert()
                handleReturn(at: server)
                settle(at: server)
            }
        }
    }

    // MARK: - The agent

    private mutating func enqueue() {
        guard lastSequence < Self.batches.count else { return }
        let batch = Self.batches[lastSequence]
        lastSequence += 1
        enqueued.insert(BatchKey(agentID: agentID, sequence: batch.sequence))
        perform(machine.enqueue(batch))
    }

    private mutating func perform(_ action: ExportStateMachine.Action) {
        switch action {
        case .nothing: break
        case .connect: isAttemptAwaited = true
        case .send(let frames): connection?.toServer += frames.map { .frame($0.frame) }
        case .close: if let connection { close(connection) }
        }
    }

    private mutating func connect() {
        let server = anyServer()
        // What a server inserts that has not said who it is counts as doubtful nowhere.
        guard isAttemptAwaited, !(rules.hasUncertainty && server.isFrozen), machine.attemptIsDue() else { return }
        isAttemptAwaited = false
        lastConnection += 1
        let opened = Connection(lastConnection, to: server)
        opened.toServer.append(.hello(machine.nextAgentID))
        connections.append(opened)
        connection = opened
        perform(machine.connectionOpened())
        if rules.hasUncertainty {
            read(opened)
            readAtAgent()
        }
    }

    /// Closes the agent's end. The server still reads what was sent.
    private mutating func close(_ closed: Connection) {
        endAtAgent(closed)
        perform(machine.connectionClosed())
    }

    private mutating func endAtAgent(_ ended: Connection) {
        ended.isOpenAtAgent = false
        ended.toServer.append(.end)
        ended.toAgent = []
        connection = nil
    }

    private mutating func leaveSilentServer() {
        guard let connection, connection.server.isFrozen, machine.awaitsAnswer else { return }
        connection.toServer.append(.leaving)
        close(connection)
    }

    private mutating func readAtAgent() {
        guard let connection, let message = connection.toAgent.popFirst() else { return }
        switch message {
        case .welcome(let welcome): perform(machine.welcomed(by: welcome))
        case .ack(let sequences, let granted): release { $0.acknowledged(sequences, grantedBytes: granted) }
        case .settlement(let fates): release { $0.settled(fates) }
        case .goAway: perform(machine.goAway())
        case .held(let held):
            let recorded = machine.held(held)?.batches ?? []
            let confirmation = HeldConfirmation(
                token: held.token,
                sequences: machine.batches(recorded, recordedUnder: held.token).map(\.sequence))
            connection.toServer.append(.frame(confirmation.frame()))
        case .unknown: break
        }
    }

    private mutating func release(
        _ event: (inout ExportStateMachine) -> (ExportStateMachine.Acknowledged, ExportStateMachine.Action)
    ) {
        let before = machine.spooledBatches
        let process = machine.connectedAs
        let (result, action) = event(&machine)
        for batch in before where batch.agentID == process && result.sequences.contains(batch.key.sequence) {
            if clickHouse.copies[batch.key] == nil { Issue.record("acknowledged without being stored") }
            acknowledged.append(batch)
        }
        perform(action)
    }

    /// Kills the agent. Its successor finds the log, from which the last acknowledgements may be missing.
    private mutating func restartAgent() {
        if let connection { endAtAgent(connection) }
        isAttemptAwaited = false
        var left = machine.spooledBatches
        if chance(50) { left += acknowledged.filter { $0.block != nil }.suffix(3) }
        acknowledged = []
        doubtfulBatches += machine.doubtfulBatches
        lastProcess += 1
        (agentID, lastSequence) = (AgentID(bits: lastProcess), 0)
        machine = ExportStateMachine(agentID: agentID, backoff: .serverConnection, mergeAboveBytes: .max)
        perform(machine.start())
        left.sort { $0.key < $1.key }
        perform(machine.restore(left))
    }

    // MARK: - Connections and processes

    private mutating func anyServer() -> Server { servers[Int.random(in: servers.indices, using: &generator)] }

    private mutating func startServer() {
        lastServer += 1
        servers.append(Server(lastServer, settlesDoubts: !(rules.hasUncertainty && chance(40))))
    }

    private func send(_ message: ServerMessage, on connection: Connection) {
        if connection.isOpenAtAgent { connection.toAgent.append(message) }
    }

    /// Cuts the agent's connection: the server reads a part of what was sent.
    private mutating func cut(_ cut: Connection) {
        cut.toServer.removeLast(Int.random(in: 0...cut.toServer.count, using: &generator))
        close(cut)
    }

    private mutating func kill(_ server: Server) {
        servers.removeAll { $0 === server }
        if servers.isEmpty { startServer() }
        connections.removeAll { $0.server === server }
        if let connection, connection.server === server { close(connection) }
    }

    // MARK: - Servers

    /// Returns the connection that carries the batches of an agent process.
    private func connection(of agentID: AgentID, at server: Server) -> Connection? {
        connections.last { $0.server === server && $0.agentID == agentID && $0.isOpenAtServer }
    }

    private mutating func readAtServer() {
        let readable = connections.filter { !$0.toServer.isEmpty && !$0.server.isFrozen }
        if let connection = readable.randomElement(using: &generator) { read(connection) }
    }

    private mutating func read(_ connection: Connection) {
        let server = connection.server
        switch connection.toServer.popFirst() {
        case .hello(let agentID):
            connection.agentID = agentID
            let granted: UInt64 = [0, 1, 150, 1_000].randomElement(using: &generator) ?? 0
            send(
                .welcome(.test(server.id, settlesDoubts: server.settlesDoubts, grantedBytes: granted)), on: connection)
        case .frame(let frame): receive(frame, on: connection)
        case .leaving: withdraw(connection)
        case .end:
            connection.isOpenAtServer = false
            connections.removeAll { $0 === connection }
            for block in server.blocks where block.unconfirmed.contains(connection.number) { server.void(block) }
            server.doubts.removeAll { $0.connection === connection }
        case nil: break
        }
    }

    private func receive(_ frame: ByteBuffer, on connection: Connection) {
        guard let agentID = connection.agentID, let bytes = frame.message else { return }
        let server = connection.server
        switch try? AgentMessage(decoding: bytes) {
        case .batch(let batch):
            let key = BatchKey(agentID: agentID, sequence: batch.sequence)
            server.arrivals[key] = max(connection.number, server.arrivals[key] ?? 0)
            switch server.places[key] {
            case nil: server.places[key] = .gathered
            case .stored: send(.ack([batch.sequence]), on: connection)
            case .gathered, .inBlock: break
            }
        case .confirmation(let confirmation):
            guard let block = server.blocks.first(where: { $0.token == confirmation.token }),
                block.unconfirmed.remove(connection.number) != nil
            else { return }
            // The agent no longer keeps the others, or another server may have them.
            for key in block.keys where key.agentID == agentID && !confirmation.sequences.contains(key.sequence) {
                block.keys.remove(key)
                server.places[key] = server.arrivals[key].map { $0 > connection.number } ?? false ? .gathered : nil
            }
        case .inDoubt(let doubts): server.doubts += doubts.map { (connection, $0.token) }
        default: Issue.record("a message that a server does not expect")
        }
    }

    /// Forgets the batches of an agent that leaves, unless their insert has begun.
    private func withdraw(_ connection: Connection) {
        let server = connection.server
        let isWithdrawn = { (key: BatchKey) in
            key.agentID == connection.agentID && server.arrivals[key].map { $0 <= connection.number } ?? true
        }
        // The agent has recorded the block's token with all of its batches: the block is inserted whole or not at all.
        for block in server.blocks where !block.isBegun && block.keys.contains(where: isWithdrawn) {
            server.void(block)
        }
        for (key, place) in server.places where place == .gathered && isWithdrawn(key) { server.places[key] = nil }
    }

    /// Makes a block of batches whose agents are connected, and announces it.
    private mutating func announce(at server: Server) {
        guard !server.isFrozen else { return }
        lastToken += 1
        let block = Server.Block(lastToken)
        var announced: [Int: (connection: Connection, sequences: [UInt64])] = [:]
        let limit = Int.random(in: 1...5, using: &generator)
        for key in server.places.filter({ $0.value == .gathered }).keys.sorted() where block.keys.count < limit {
            if server.settlesDoubts {
                guard let connection = connection(of: key.agentID, at: server) else { continue }
                announced[connection.number, default: (connection, [])].sequences.append(key.sequence)
                block.unconfirmed.insert(connection.number)
            }
            block.keys.insert(key)
            server.places[key] = .inBlock
        }
        guard !block.keys.isEmpty else { return }
        server.blocks.append(block)
        for (connection, sequences) in announced.values {
            send(.held(Held(token: block.token, day: 1, sequences: sequences)), on: connection)
        }
    }

    private mutating func beginInsert(at server: Server) {
        guard !server.isFrozen, let block = server.blocks.first(where: { $0.unconfirmed.isEmpty && !$0.isBegun }) else {
            return
        }
        block.isBegun = true
        inserts.append((server, block))
    }

    private mutating func executeInsert() {
        guard !clickHouse.isAway, !inserts.isEmpty else { return }
        let (server, block) = inserts.remove(at: Int.random(in: inserts.indices, using: &generator))
        clickHouse.insert(block.keys, under: block.token)
        server.returned.append(block)
    }

    /// Acknowledges the batches of an insert that has returned, unless a fence was in its way.
    private mutating func handleReturn(at server: Server) {
        guard !clickHouse.isAway, !server.isFrozen, let block = server.returned.popFirst() else { return }
        server.blocks.removeAll { $0 === block }
        let isFenced = clickHouse.fences.contains(block.token)
        for key in block.keys.sorted() {
            server.places[key] = isFenced ? nil : .stored
            guard let connection = connection(of: key.agentID, at: server) else { continue }
            if isFenced {
                endByServer(connection)
            } else {
                send(.ack([key.sequence], grantedBytes: chance(30) ? 200 : 0), on: connection)
            }
        }
    }

    /// Closes a connection at the server, which then voids the blocks that it has announced on it.
    private mutating func endByServer(_ ended: Connection) {
        ended.toServer = [.end]
        if connection === ended { close(ended) }
    }

    private mutating func settle(at server: Server) {
        guard !clickHouse.isAway, !server.isFrozen, let doubt = server.doubts.popFirst() else { return }
        let isUncertain = rules.hasUncertainty && chance(30)
        let fate = isUncertain ? .uncertain : clickHouse.fence(doubt.token)
        send(.settlement([SettledDoubt(token: doubt.token, fate: fate)]), on: doubt.connection)
    }
}

extension Array {
    /// Removes and returns the first element; returns nil if there is none.
    fileprivate mutating func popFirst() -> Element? { isEmpty ? nil : removeFirst() }
}

extension BatchKey: Comparable {
    static func < (one: BatchKey, other: BatchKey) -> Bool {
        (one.agentID.bits, one.sequence) < (other.agentID.bits, other.sequence)
    }
}

@Suite struct SettlementModelTests {
    /// The histories of a case; `make histories` sets more.
    private static let histories =
        ProcessInfo.processInfo.environment["KUBENETMON_HISTORIES"].flatMap { Int($0) }.map { $0 / 20 } ?? 100

    @Test("whatever fails, no batch is lost and none is stored twice", arguments: 0..<20)
    func onceAndOnlyOnce(_ part: Int) {
        for number in 0..<Self.histories {
            var model = SettlementModel(seed: UInt64(part * Self.histories + number))
            model.run(steps: 50)
        }
    }

    @Test("if fates are unknown, no batch is lost, and those stored twice are counted as doubtful", arguments: 0..<2)
    func doubtful(_ part: Int) {
        for number in 0..<Self.histories {
            var model = SettlementModel(
                seed: UInt64(1_000_000 + part * Self.histories + number),
                rules: SettlementModel.Rules(hasUncertainty: true, restartsAgent: false))
            model.run(steps: 80)
        }
    }
}
