// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct FlowSinkTests {
    @Test("the sink gets the node's name with each batch") func theSinkIsToldWhoSends() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(1))
        #expect(try await ingest.deliveries(1)[0].node == "node-a")
    }

    @Test("several batches are acknowledged in one message")
    func severalBatchesAreAcknowledgedWithOneMessage() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(1), .batch(2), .batch(3), .batch(900))
        let receipts = try await ingest.deliveries(4).map(\.receipt)
        BatchReceipt.acknowledge([receipts[2], receipts[0], receipts[3]])
        BatchReceipt.acknowledge([receipts[1]])
        #expect(try await agent.messages(2) == [.ack([3, 1, 900]), .ack([2])])
    }

    @Test("each agent gets acknowledgements of its own batches") func eachAgentHearsOfItsOwnBatches() async throws {
        let ingest = try await TestIngest.start()
        let agents = try await [
            TestAgent.connect(to: ingest.address, node: "node-0"),
            TestAgent.connect(to: ingest.address, node: "node-1"),
        ]
        for agent in agents { try await agent.send(.batch(1), .batch(2)) }
        BatchReceipt.acknowledge(try await ingest.deliveries(4).map(\.receipt))
        for agent in agents { #expect(try await agent.messages(1) == [.ack([1, 2])]) }
    }

    @Test("an empty list of receipts sends no message") func nothingIsSaidWhereNothingIsAcknowledged() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(1))
        let receipts = try await ingest.deliveries(1).map(\.receipt)
        BatchReceipt.acknowledge([])
        BatchReceipt.acknowledge(receipts)
        #expect(try await agent.messages(1) == [.ack([1])])
    }

    @Test("acknowledgements for closed connections are skipped") func agentsThatAreGoneArePassedOver() async throws {
        let ingest = try await TestIngest.start()
        let gone = try await TestAgent.connect(to: ingest.address, node: "gone")
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await gone.send(.batch(1))
        try await agent.send(.batch(5))
        let receipts = try await ingest.deliveries(2).map(\.receipt)
        try await gone.channel.close()
        try await ingest.connectedAgents(1)
        BatchReceipt.acknowledge(receipts)
        #expect(try await agent.messages(1) == [.ack([5])])
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a batch that is sent again is not delivered again")
    func aBatchThatComesAgainIsNotDeliveredAgain() async throws {
        let ingest = try await TestIngest.start()
        let first = try await TestAgent.connect(to: ingest.address)
        let hello = Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame()
        try await first.channel.writeAndFlush(hello)
        try await first.send(.batch(1), .batch(2))
        let receipts = try await ingest.deliveries(2).map(\.receipt)
        BatchReceipt.acknowledge([receipts[0]])
        try await first.channel.close()
        try await ingest.connectedAgents(0)

        // The agent sends both again: batch 1 is stored, batch 2 is still held.
        let second = try await TestAgent.connect(to: ingest.address)
        try await second.channel.writeAndFlush(hello)
        try await second.send(.batch(1), .batch(2), .batch(3))
        _ = try await ingest.deliveries(3)
        #expect(try await second.messages(1) == [.ack([1])])
        BatchReceipt.acknowledge([receipts[1]])
        #expect(try await second.messages(2) == [.ack([1]), .ack([2])])
        #expect(ingest.deliveries().map(\.sequence) == [1, 2, 3])
        #expect(ingest.server.statistics.duplicateBatches == 2)
        // Another process on the same node numbers its batches from 1 again.
        let other = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await other.send(.batch(1))
        _ = try await ingest.deliveries(4)
    }

    @Test("acknowledgements that exceed one frame are sent in several")
    func moreBatchesThanAFrameCanNameAreAcknowledgedWithSeveral() async throws {
        let ingest = try await TestIngest.start { $0.limits.batchesInFlight = .max }
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        var frames = ByteBuffer()
        for number in 0..<70_000 as Range<UInt64> { frames.writeImmutableBuffer(.batch(.max - number)) }
        try await agent.send(frames)
        let receipts = try await ingest.deliveries(70_000).map(\.receipt)
        BatchReceipt.acknowledge(receipts)
        try await eventually("all batches are acknowledged") {
            try agent.messages.reduce(0) { sum, message in
                guard case .ack(let sequences, _) = message else { return sum }
                return sum + sequences.count
            } == receipts.count
        }
        #expect(agent.channel.isActive)
    }
}
