// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import FlowIngest

/// Blocks that are named to agents before they are inserted, and agents' questions for the fates of blocks.
@Suite struct AnnouncementTests {
    private static let id = AgentID.random()

    private func connect(to ingest: TestIngest, confirmsHeld: Bool = true, id: AgentID = id) async throws -> TestAgent {
        let agent = try await TestAgent.connect(to: ingest.address)
        let hello = Hello(nodeName: "node-a", agentID: id, softwareVersion: "test", confirmsHeld: confirmsHeld)
        try await agent.send(hello.frame())
        return agent
    }

    /// Announces a block of batches, and counts its confirmations.
    private final class Announced: Sendable {
        private let confirmations = Mutex(0)
        private let box = Mutex<BlockAnnouncement?>(nil)

        init(_ deliveries: [TestIngest.Delivery]) {
            let announcement = BatchReceipt.announce(deliveries.map(\.receipt), day: 20_787) { _ in
                self.confirmations.withLock { $0 += 1 }
            }
            box.withLock { $0 = announcement }
        }

        var announcement: BlockAnnouncement { box.withLock { $0 }.unsafelyUnwrapped }
        var confirmed: Int { confirmations.withLock { $0 } }
    }

    @Test("a block is confirmed once every agent that confirms has done so") func confirmed() async throws {
        let ingest = try await TestIngest.start()
        let (first, second) = (
            try await connect(to: ingest), try await connect(to: ingest, id: .random())
        )
        let old = try await connect(to: ingest, confirmsHeld: false, id: .random())
        try await first.send(.batch(1), .batch(2))
        try await second.send(.batch(1))
        try await old.send(.batch(1))
        let deliveries = try await ingest.deliveries(4)
        let block = Announced(deliveries)
        let token = block.announcement.token
        #expect(try await first.messages(1) == [.held(Held(token: token, day: 20_787, sequences: [1, 2]))])
        #expect(try await second.messages(1) == [.held(Held(token: token, day: 20_787, sequences: [1]))])
        try await first.send(HeldConfirmation(token: token, sequences: [1]).frame())
        try await second.send(HeldConfirmation(token: token, sequences: [1]).frame())
        try await second.send(HeldConfirmation(token: 5, sequences: [1]).frame())
        let missing = [2 as UInt64]
        try await eventually("one batch is not confirmed") {
            block.announcement.unconfirmed.map(\.sequence) == missing
        }
        #expect(block.confirmed == 0)
        for _ in 0..<2 { try await first.send(HeldConfirmation(token: token, sequences: [2, 77]).frame()) }
        try await eventually("the block is confirmed") { block.confirmed == 1 }
        #expect(try old.messages == [])
        #expect(BatchReceipt.haveConnections(deliveries.map(\.receipt)))
        try await second.channel.close()
        try await ingest.connectedAgents(2)
        #expect(!BatchReceipt.haveConnections(deliveries.map(\.receipt)))
    }

    @Test("an agent whose connection broke learns the block of its batches when it sends them again")
    func announcedAgain() async throws {
        let ingest = try await TestIngest.start()
        let first = try await connect(to: ingest)
        try await first.send(.batch(1))
        let deliveries = try await ingest.deliveries(1)
        try await first.channel.close()
        try await ingest.connectedAgents(0)
        let block = Announced(deliveries)
        let second = try await connect(to: ingest)
        try await second.send(.batch(1))
        let token = block.announcement.token
        #expect(try await second.messages(1) == [.held(Held(token: token, day: 20_787, sequences: [1]))])
        try await second.send(HeldConfirmation(token: token, sequences: [1]).frame())
        try await eventually("the block is confirmed") { block.confirmed == 1 }
        #expect(BatchReceipt.haveConnections(deliveries.map(\.receipt)))
        BatchReceipt.acknowledge(deliveries.map(\.receipt))
        #expect(try await second.messages(2).last == .ack([1]))
    }

    @Test("batches that are not confirmed in time are given up, whether their agent is silent, has left or is gone")
    func givenUp() async throws {
        let ingest = try await TestIngest.start()
        let ids = (0..<4).map { _ in AgentID.random() }
        var agents: [TestAgent] = []
        for id in ids { agents.append(try await connect(to: ingest, id: id)) }
        for (index, agent) in agents.enumerated() {
            try await agent.send(.batch(UInt64(index)))
            _ = try await ingest.deliveries(index + 1)
        }
        let deliveries = ingest.deliveries()
        let block = Announced(deliveries)
        let token = block.announcement.token
        // The first confirms, the second is silent, the third leaves, the fourth's connection breaks.
        try await agents[0].send(HeldConfirmation(token: token, sequences: [0]).frame())
        try await agents[2].send(AgentMessage.leavingFrame)
        for agent in agents[2...] { try await agent.channel.close() }
        try await ingest.connectedAgents(2)
        try await eventually("the third has left, the first has confirmed") {
            block.announcement.isLeft && block.announcement.unconfirmed.count == 3
        }
        let givenUp = BatchReceipt.giveUp(deliveries.map(\.receipt), unconfirmedIn: block.announcement)
        #expect(Set(givenUp.map(\.sequence)) == [1, 2, 3])
        try await agents[1].closed()
        #expect(agents[0].channel.isActive && block.confirmed == 0)
        #expect(ingest.server.statistics.withdrawnBatches == 3)
        // What was given up is new when it arrives again, the rest is not.
        let second = try await connect(to: ingest, id: ids[1])
        try await second.send(.batch(1))
        #expect(try await ingest.deliveries(5)[4].sequence == 1)
        try await agents[0].send(.batch(0))
        try await eventually("the confirmed batch is a duplicate") {
            ingest.server.statistics.duplicateBatches == 1
        }
    }

    @Test("a batch whose agent has left before its block was announced is given up") func leftBefore() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await connect(to: ingest)
        try await agent.send(.batch(1))
        let deliveries = try await ingest.deliveries(1)
        try await agent.send(AgentMessage.leavingFrame)
        try await agent.channel.close()
        try await eventually("the sink is asked") { !ingest.withdrawn.isEmpty }
        let block = Announced(deliveries)
        #expect(block.announcement.isLeft)
        let receipts = deliveries.map(\.receipt)
        #expect(BatchReceipt.giveUp(receipts, unconfirmedIn: block.announcement) == [receipts[0].identity])
    }

    @Test("the batches of a void block are forgotten, and the agents that remain are sent away") func void()
        async throws
    {
        let ingest = try await TestIngest.start()
        let agent = try await connect(to: ingest)
        try await agent.send(.batch(1), .batch(2))
        let deliveries = try await ingest.deliveries(2)
        _ = Announced([deliveries[0]])
        BatchReceipt.void([deliveries[0].receipt])
        try await agent.closed()
        let second = try await connect(to: ingest)
        try await second.send(.batch(1), .batch(2))
        #expect(try await ingest.deliveries(3)[2].sequence == 1)
        try await eventually("the other batch is held") { ingest.server.statistics.duplicateBatches == 1 }
    }

    @Test("a confirmation is read although batches are not") func backPressure() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await connect(to: ingest)
        try await agent.send(.batch(1))
        let deliveries = try await ingest.deliveries(1)
        ingest.server.setReading(false)
        let block = Announced(deliveries)
        let token = block.announcement.token
        #expect(try await agent.messages(1) == [.held(Held(token: token, day: 20_787, sequences: [1]))])
        try await agent.send(.batch(2), HeldConfirmation(token: token, sequences: [1]).frame(), .batch(3))
        try await eventually("the block is confirmed") { block.confirmed == 1 }
        #expect(ingest.deliveries().count == 1)
        ingest.server.setReading(true)
        #expect(try await ingest.deliveries(3).map(\.sequence) == [1, 2, 3])
    }

    @Test("a batch that pretends to be a confirmation closes the connection") func disguisedBatch() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await connect(to: ingest)
        let confirmation = HeldConfirmation(token: 1, sequences: []).frame()
        var message = Array(confirmation.readableBytesView.dropFirst(4))
        message += ByteBuffer.batch(1).readableBytesView.dropFirst(4)
        try await agent.send(.frame(message))
        try await agent.closed()
        #expect(ingest.deliveries().isEmpty && ingest.server.statistics.errors == ["not_a_message": 1])
    }

    @Test("grants are shared by the agents, and shrink to one batch while batches cannot be stored")
    func grants() async throws {
        let ingest = try await TestIngest.start { $0.grantedBytes = 1 << 20 }
        let first = try await connect(to: ingest)
        #expect(try await first.welcomed().grantedBytes == 1 << 20)
        let second = try await connect(to: ingest, id: .random())
        #expect(try await second.welcomed().grantedBytes == 1 << 19)
        try await first.send(.batch(1), .batch(2))
        let deliveries = try await ingest.deliveries(2)
        BatchReceipt.acknowledge([deliveries[0].receipt])
        #expect(try await first.messages(1) == [.ack([1], grantedBytes: 1 << 19)])
        ingest.server.setReading(false)
        BatchReceipt.acknowledge([deliveries[1].receipt])
        #expect(try await first.messages(2).last == .ack([2], grantedBytes: 1))
    }

    /// Answers that no block is stored, once released.
    private final class Settler: DoubtSettler {
        private let questions = Mutex<[([Doubt], @Sendable ([SettledDoubt]) -> Void)]>([])

        func settle(
            _ doubts: [Doubt], isWanted: @escaping @Sendable () -> Bool,
            settled: @escaping @Sendable ([SettledDoubt]) -> Void
        ) {
            questions.withLock { $0.append((doubts, settled)) }
        }

        var asked: [[Doubt]] { questions.withLock { $0.map(\.0) } }

        func answer() {
            for (doubts, settled) in questions.withLock({ $0 }) {
                settled(doubts.map { SettledDoubt(token: $0.token, fate: .notStored) })
            }
        }
    }

    @Test("an agent's question for the fates of blocks is answered on its connection") func doubts() async throws {
        let settler = Settler()
        let ingest = try await TestIngest.start { $0.doubtSettler = settler }
        let agent = try await connect(to: ingest)
        #expect(try await agent.welcomed().settlesDoubts)
        let doubts = [Doubt(token: 7, day: 1, age: .seconds(2), batches: 3, reportedBytes: 4)]
        try await agent.send(Doubt.frame(doubts))
        try await eventually("the question arrives") { settler.asked == [doubts] }
        settler.answer()
        #expect(try await agent.messages(1) == [.settlement([SettledDoubt(token: 7, fate: .notStored)])])
    }

    @Test("a server that cannot settle blocks does not offer it, and answers that they are uncertain")
    func noSettler() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await connect(to: ingest)
        #expect(try await !agent.welcomed().settlesDoubts)
        try await agent.send(Doubt.frame([Doubt(token: 7, day: 1, age: .zero, batches: 1, reportedBytes: 1)]))
        #expect(try await agent.messages(1) == [.settlement([SettledDoubt(token: 7, fate: .uncertain)])])
    }

    @Test("an agent that asks for too many blocks at a time is closed")
    func tooMany() async throws {
        let ingest = try await TestIngest.start { $0.doubtSettler = Settler() }
        let agent = try await connect(to: ingest)
        let doubts = (0..<UInt128(Doubt.maximumCount)).map {
            Doubt(token: $0, day: 1, age: .zero, batches: 1, reportedBytes: 1)
        }
        for _ in 0..<5 { try await agent.send(Doubt.frame(doubts)) }
        try await agent.closed()
        #expect(ingest.server.statistics.errors == ["unexpected_message": 1])
    }
}
