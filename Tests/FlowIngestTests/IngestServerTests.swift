// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct IngestServerTests {
    @Test("batches reach the sink in order with their flows")
    func batchesReachTheSinkInOrderWithTheirFlows() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        let batches = (0..<40).map { number in (0..<number).map { Flow.test($0, isIPv4: number.isMultiple(of: 2)) } }
        for (number, flows) in batches.enumerated() { try await agent.send(.batch(UInt64(number), flows)) }
        let deliveries = try await ingest.deliveries(batches.count)
        #expect(deliveries.map(\.flows) == batches)
        #expect(deliveries.map(\.sequence) == Array(0..<40))
        #expect(deliveries.map(\.observedAtMilliseconds) == Array(1_000..<1_040))
        #expect(deliveries.allSatisfy { $0.node == "node-a" })
        #expect(ingest.server.statistics.batches == 40)
        #expect(ingest.server.statistics.flows == UInt64(batches.reduce(0) { $0 + $1.count }))
    }

    @Test("a batch that arrives in pieces is decoded as a whole")
    func aBatchThatArrivesInPiecesIsReadWhole() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address)
        var bytes = ByteBuffer.hello(node: "node-a")
        bytes.writeImmutableBuffer(.batch(1))
        while let piece = bytes.readSlice(length: min(7, bytes.readableBytes)), piece.readableBytes > 0 {
            try await agent.send(piece)
            try await ingest.turnLoops()
        }
        #expect(try await ingest.deliveries(1).map(\.flows) == [[.test(1)]])
    }

    @Test("only connections with a Hello count as connected agents")
    func connectedAgentsAreThoseThatHaveIntroducedThemselves() async throws {
        let ingest = try await TestIngest.start()
        let first = try await TestAgent.connect(to: ingest.address, node: "node-a")
        let second = try await TestAgent.connect(to: ingest.address, node: "node-b")
        try await ingest.connectedAgents(2)
        _ = try await TestAgent.connect(to: ingest.address)
        try await eventually("a third connection is accepted") { ingest.server.statistics.connections == 3 }
        #expect(ingest.server.statistics.connectedAgents == 2)
        try await first.channel.close()
        try await ingest.connectedAgents(1)
        try await second.channel.close()
        try await ingest.connectedAgents(0)
        #expect(ingest.server.statistics.connections == 3)
        // Closing a socket with an unread heartbeat resets the connection.
        #expect(Set(ingest.server.statistics.errors.keys).isSubset(of: ["connection_lost"]))
    }

    @Test("agents are listed with their last batch, silent ones first")
    func agentsAreToldWithTheirLastBatchesThoseThatAreSilentFirst() async throws {
        let ingest = try await TestIngest.start()
        let agents = try await [
            TestAgent.connect(to: ingest.address, node: "node-a"),
            TestAgent.connect(to: ingest.address, node: "node-b"),
            TestAgent.connect(to: ingest.address, node: "node-c"),
        ]
        try await ingest.connectedAgents(3)
        let begin = ContinuousClock.now
        for (number, place) in [0, 2, 0].enumerated() {
            try await agents[place].send(.batch(UInt64(number + 1)))
            _ = try await ingest.deliveries(number + 1)
        }
        let told = ingest.server.agents(atMost: 10)
        #expect(told.map(\.nodeName) == ["node-b", "node-c", "node-a"])
        #expect(told.map(\.batches) == [0, 1, 2])
        #expect(told[0].lastBatch == nil && told[0].connected <= begin)
        #expect(told.dropFirst().allSatisfy { $0.lastBatch.map { $0 >= begin } == true })
        #expect(told.allSatisfy { $0.softwareVersion == "test" && $0.remoteAddress == "127.0.0.1" })
        #expect(ingest.server.agents(atMost: 1).map(\.nodeName) == ["node-b"])
        try await agents[1].channel.close()
        try await eventually("the ended connection is removed") {
            ingest.server.agents(atMost: 10).map(\.nodeName) == ["node-c", "node-a"]
        }
    }

    @Test("batches of concurrent agents are not mixed") func manyAgentsAtOnceKeepTheirBatchesApart() async throws {
        let ingest = try await TestIngest.start()
        try await withThrowingTaskGroup { group in
            for number in 0..<40 {
                group.addTask {
                    let agent = try await TestAgent.connect(to: ingest.address, node: "node-\(number)")
                    for sequence in 1...10 { try await agent.send(.batch(UInt64(sequence), [.test(number)])) }
                    let deliveries = try await ingest.deliveries(10, from: "node-\(number)")
                    #expect(deliveries.map(\.sequence) == Array(1...10))
                    #expect(deliveries.allSatisfy { $0.flows == [.test(number)] })
                }
            }
            try await group.waitForAll()
        }
        #expect(ingest.server.statistics.batches == 400)
    }

    // MARK: - Backpressure

    @Test("a new connection is not read until reading resumes")
    func nothingOfANewConnectionIsReadUntilReadingResumes() async throws {
        let ingest = try await TestIngest.start()
        ingest.server.setReading(false)
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        for sequence in 1...20 { try await agent.send(.batch(UInt64(sequence))) }
        try await eventually("the connection is accepted") { ingest.server.statistics.connections == 1 }
        try await ingest.turnLoops()
        #expect(ingest.server.statistics.connectedAgents == 0)
        #expect(ingest.deliveries().isEmpty)
        ingest.server.setReading(true)
        #expect(try await ingest.deliveries(20).map(\.sequence) == Array(1...20))
        #expect(try agent.messages.isEmpty)
    }

    @Test("a connected agent is stopped by TCP backpressure until reading resumes")
    func aConnectedAgentIsHeldBackByTCPUntilReadingResumes() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await ingest.connectedAgents(1)
        ingest.server.setReading(false)
        // The pending read takes the next batch off the socket, but the sink does not get it.
        try await agent.send(.batch(1))
        try await ingest.turnLoops()
        let flows = (0..<FlowBatchBuilder.maximumFlows).map { Flow.test($0, isIPv4: false) }
        let writes = (2...257).map { agent.channel.writeAndFlush(ByteBuffer.batch($0, flows)) }
        try await ingest.turnLoops()
        // The batches are larger than all buffers between agent and server.
        #expect(!agent.channel.isWritable)
        #expect(ingest.deliveries().isEmpty)
        ingest.server.setReading(true)
        #expect(try await ingest.deliveries(257).map(\.sequence) == Array(1...257))
        #expect(ingest.deliveries().dropFirst().allSatisfy { $0.flows == flows })
        for write in writes { try await write.get() }
    }

    @Test("pausing and resuming reads repeatedly loses no batch")
    func stoppingAndResumingAgainAndAgainLosesNothing() async throws {
        let ingest = try await TestIngest.start()
        let agents = try await [
            TestAgent.connect(to: ingest.address, node: "node-0"),
            TestAgent.connect(to: ingest.address, node: "node-1"),
        ]
        for sequence in 1...200 {
            if sequence.isMultiple(of: 5) { ingest.server.setReading(sequence.isMultiple(of: 10)) }
            for agent in agents { try await agent.send(.batch(UInt64(sequence))) }
        }
        for node in ["node-0", "node-1"] {
            #expect(try await ingest.deliveries(200, from: node).map(\.sequence) == Array(1...200))
        }
    }

    @Test("a connection closed while reading is paused is no longer counted")
    func anAgentThatLeavesWhileNothingIsReadIsForgotten() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await ingest.connectedAgents(1)
        ingest.server.setReading(false)
        try await agent.channel.close()
        try await ingest.connectedAgents(0)
    }

    // MARK: - Shutting down

    @Test("a stopping server sends GoAway, and still sends acknowledgements")
    func afterStoppingConnectedAgentsAreSentAwayAndCanBeAcknowledged() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(7))
        let receipt = try await ingest.deliveries(1)[0].receipt
        await ingest.server.stopAccepting(reason: "rolling")
        #expect(try await agent.messages(1) == [.goAway(reason: "rolling", supportedProtocolVersion: 0)])
        // Programs that other tests are starting hold copies of this process's sockets until they call exec(2).
        try await eventually("a new connection is rejected") {
            guard let late = try? await TestAgent.connect(to: ingest.address) else { return true }
            try? await late.channel.close()
            return false
        }
        #expect(agent.channel.isActive)
        BatchReceipt.acknowledge([receipt])
        #expect(try await agent.messages(2).last == .ack([7]))
        await ingest.server.closeConnections()
        try await agent.closed()
        try await ingest.connectedAgents(0)
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a stopping server reads nothing, even if reading resumes")
    func afterStoppingNothingIsReadEvenWhenThePressureEnds() async throws {
        let ingest = try await TestIngest.start()
        ingest.server.setReading(false)
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(1))
        try await eventually("the connection is accepted") { ingest.server.statistics.connections == 1 }
        await ingest.server.stopAccepting(reason: "rolling")
        _ = try await agent.messages(1)
        ingest.server.setReading(true)
        try await ingest.turnLoops()
        #expect(ingest.server.statistics.connectedAgents == 0)
        #expect(ingest.deliveries().isEmpty)
    }
}
