// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@testable import FlowIngest

/// The batches of a connection that closes before they are acknowledged.
@Suite struct WithdrawalTests {
    private let hello = Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame()

    private func connect(to ingest: TestIngest) async throws -> TestAgent {
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(hello)
        return agent
    }

    @Test("a batch that the sink gives up is new when it arrives again")
    func givenUp() async throws {
        let ingest = try await TestIngest.start()
        ingest.setGivingUp(true)
        let first = try await connect(to: ingest)
        try await first.send(.batch(1), .batch(2))
        let deliveries = try await ingest.deliveries(2)
        BatchReceipt.acknowledge([deliveries[0].receipt])
        _ = try await first.messages(1)
        try await first.send(AgentMessage.leavingFrame)
        try await first.channel.close()
        try await eventually("the other batch is withdrawn") { ingest.withdrawn == [deliveries[1].receipt.identity] }
        try await ingest.connectedAgents(0)

        let second = try await connect(to: ingest)
        try await second.send(.batch(1), .batch(2))
        let receipt = try await ingest.deliveries(3)[2].receipt
        #expect(receipt.identity.sequence == 2)
        #expect(try await second.messages(1) == [.ack([1])])
        BatchReceipt.acknowledge([receipt])
        #expect(try await second.messages(2) == [.ack([1]), .ack([2])])
        #expect(ingest.server.statistics.withdrawnBatches == 1 && ingest.server.statistics.duplicateBatches == 1)
        try await second.channel.close()
    }

    @Test("a batch that the sink keeps is acknowledged on the connection on which it arrives again")
    func kept() async throws {
        let ingest = try await TestIngest.start()
        let first = try await connect(to: ingest)
        try await first.send(.batch(1))
        let delivery = try await ingest.deliveries(1)[0]
        try await first.send(AgentMessage.leavingFrame)
        try await first.channel.close()
        try await eventually("the sink is asked") { ingest.withdrawn == [delivery.receipt.identity] }
        let second = try await connect(to: ingest)
        try await second.send(.batch(1))
        try await eventually("the batch is a duplicate") { ingest.server.statistics.duplicateBatches == 1 }
        BatchReceipt.acknowledge([delivery.receipt])
        #expect(try await second.messages(1) == [.ack([1])])
        #expect(ingest.deliveries().count == 1 && ingest.server.statistics.withdrawnBatches == 0)
        try await second.channel.close()
    }

    @Test("a batch that has arrived on another connection too is not withdrawn when the first closes")
    func arrivedAgain() async throws {
        let ingest = try await TestIngest.start()
        ingest.setGivingUp(true)
        let (first, second) = (try await connect(to: ingest), try await connect(to: ingest))
        try await first.send(.batch(1))
        let delivery = try await ingest.deliveries(1)[0]
        try await second.send(.batch(1))
        try await eventually("the batch is a duplicate") { ingest.server.statistics.duplicateBatches == 1 }
        try await first.send(AgentMessage.leavingFrame)
        try await first.channel.close()
        try await ingest.connectedAgents(1)
        #expect(ingest.withdrawn == [])
        BatchReceipt.acknowledge([delivery.receipt])
        #expect(try await second.messages(1) == [.ack([1])])
        try await second.channel.close()
    }

    /// The agent may have been killed: its batches are nowhere else.
    @Test("the batches of a connection that closes without the agent's message are kept")
    func brokenConnection() async throws {
        let ingest = try await TestIngest.start()
        ingest.setGivingUp(true)
        let agent = try await connect(to: ingest)
        try await agent.send(.batch(1))
        _ = try await ingest.deliveries(1)
        try await agent.channel.close()
        try await ingest.connectedAgents(0)
        #expect(ingest.withdrawn == [] && ingest.server.statistics.withdrawnBatches == 0)
    }

    @Test("a connection that broke before does not keep what the agent takes with it")
    func brokenBefore() async throws {
        let ingest = try await TestIngest.start()
        ingest.setGivingUp(true)
        let first = try await connect(to: ingest)
        try await first.send(.batch(1))
        let delivery = try await ingest.deliveries(1)[0]
        try await first.channel.close()
        try await ingest.connectedAgents(0)
        let second = try await connect(to: ingest)
        try await second.send(.batch(1))
        try await eventually("the batch is a duplicate") { ingest.server.statistics.duplicateBatches == 1 }
        try await second.send(AgentMessage.leavingFrame)
        try await second.channel.close()
        try await eventually("the batch is withdrawn") { ingest.withdrawn == [delivery.receipt.identity] }
    }

    @Test("an agent that leaves takes its batches with it while reading is paused too")
    func leavingWhilePaused() async throws {
        let ingest = try await TestIngest.start { $0.limits.batchesInFlight = 1 }
        ingest.setGivingUp(true)
        let agent = try await connect(to: ingest)
        try await agent.send(.batch(1), .batch(2))
        let delivery = try await ingest.deliveries(1)[0]
        try await agent.send(AgentMessage.leavingFrame)
        try await agent.channel.close()
        try await eventually("the batch is withdrawn") { ingest.withdrawn == [delivery.receipt.identity] }
    }

    @Test("a server names itself and its end of the connection")
    func welcome() async throws {
        let ingest = try await TestIngest.start()
        let agents = [try await connect(to: ingest), try await connect(to: ingest)]
        let welcomes = [try await agents[0].welcomed(), try await agents[1].welcomed()]
        #expect(welcomes[0] == welcomes[1])
        #expect(welcomes[0].address == IPAddress(v4: 0x7f00_0001) && Int(welcomes[0].port) == ingest.address.port)
        let other = try await TestIngest.start()
        let stranger = try await connect(to: other)
        #expect(try await stranger.welcomed().serverID != welcomes[0].serverID)
        for agent in agents + [stranger] { try await agent.channel.close() }
    }
}
