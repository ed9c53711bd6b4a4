// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowIngest
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct ConnectionAgeTests {
    @Test("replacing aged connections neither loses nor repeats a batch")
    func connectionsThatAreReplacedAgainAndAgainLoseAndRepeatNothing() async throws {
        let ingest = try await TestIngest.start { $0.maximumConnectionAge = .milliseconds(100) }
        let agent = ExporterUnderTest(to: ingest.address)
        var exported = 0
        var acknowledged = 0
        try await eventually("three connections have exceeded the maximum age") {
            exported += 1
            agent.export(exported)
            let all = ingest.deliveries()
            BatchReceipt.acknowledge(all.dropFirst(acknowledged).map(\.receipt))
            acknowledged = all.count
            return ingest.server.statistics.agedConnections >= 3 && agent.exporter.statistics.connections >= 4
        }
        let all = try await ingest.deliveries(exported)
        BatchReceipt.acknowledge(all.dropFirst(acknowledged).map(\.receipt))
        try await agent.acknowledged(UInt64(exported))
        #expect(all.map(\.sequence) == (1...exported).map { UInt64($0) })
        #expect(ingest.server.statistics.duplicateBatches == 0)
        #expect(ingest.server.statistics.errors == [:])
        try await agent.stop()
    }

    @Test("batches in flight are acknowledged on the aged connection")
    func whatIsUnderWayIsAcknowledgedOnTheOldConnection() async throws {
        let ingest = try await TestIngest.start { $0.maximumConnectionAge = .milliseconds(100) }
        let agent = ExporterUnderTest(to: ingest.address, isStarted: false)
        agent.export(1)
        agent.exporter.start()
        let receipt = try await ingest.deliveries(1)[0].receipt
        try await eventually("the connection has exceeded the maximum age") {
            ingest.server.statistics.agedConnections == 1
        }
        try await ingest.turnLoops()
        #expect(agent.exporter.statistics.connections == 1)
        BatchReceipt.acknowledge([receipt])
        try await agent.acknowledged(1)
        try await eventually("the agent has reconnected") { agent.exporter.statistics.connections >= 2 }
        #expect(ingest.server.statistics.batches == 1)
        try await agent.stop()
    }

    @Test("no agent is asked to leave while one of its batches is older than ten seconds")
    func owedBatches() async throws {
        let ingest = try await ClockedIngest.start { $0.maximumConnectionAge = .seconds(30) }
        let agent = try await ingest.connect(node: "node-a")
        _ = try await agent.messages()
        try await agent.send(.batch(1))
        await ingest.pass(.minutes(2))
        #expect(try await agent.messages() == [] && ingest.server.statistics.agedConnections == 0)
        BatchReceipt.acknowledge(ingest.receipts)
        // A young batch does not keep the agent.
        try await agent.send(.batch(2))
        await ingest.pass(.seconds(10))
        let messages = try await agent.messages()
        #expect(messages.first == .ack([1]) && messages.count == 2 && ingest.server.statistics.agedConnections == 1)
        // It may stay for its acknowledgement, is then asked again, and is disconnected if it stays without a reason.
        await ingest.pass(.minutes(2))
        try await agent.send(AgentMessage.signOfLife)
        await ingest.pass(.minutes(2))
        #expect(agent.isConnected)
        BatchReceipt.acknowledge(ingest.receipts)
        await ingest.pass(.seconds(10))
        #expect(agent.isConnected && ingest.server.statistics.agedConnections == 2)
        await ingest.pass(.seconds(90))
        #expect(!agent.isConnected && ingest.server.statistics.errors == ["stayed": 1])
    }

    @Test("an agent that does not leave an aged connection is disconnected")
    func anAgentThatDoesNotGoIsClosed() async throws {
        let ingest = try await TestIngest.start {
            $0.maximumConnectionAge = .milliseconds(50)
            $0.departureDeadline = .milliseconds(100)
        }
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.closed()
        #expect(try agent.messages.count == 1)
        #expect(ingest.server.statistics.errors == ["stayed": 1])
    }

    /// Agents would only send another replica the batches that this one holds.
    @Test("no agent is asked to leave while the server does not read")
    func whileNothingCanBeStoredNobodyIsSentAway() async throws {
        let ingest = try await ClockedIngest.start { $0.maximumConnectionAge = .seconds(30) }
        let agent = try await ingest.connect(node: "node-a")
        ingest.server.setReading(false)
        await ingest.pass(.minutes(2))
        #expect(try await agent.messages() == [])
        #expect(ingest.server.statistics.agedConnections == 0)
        ingest.server.setReading(true)
        await ingest.pass(.seconds(10))
        #expect(try await agent.messages().count == 1)
        #expect(ingest.server.statistics.agedConnections == 1)
    }

    /// Admits every agent for a limited time.
    private struct Visa: AgentAuthenticator {
        let lifetime: Duration

        func examine(_ claim: AgentClaim) async -> AgentVerdict { .admitted(lifetime: lifetime) }
    }

    @Test(
        "an agent is asked to reconnect before its token expires, and disconnected when it does",
        arguments: [(.seconds(1_000), 910), (.seconds(60), 30)] as [(Duration, Int64)])
    func tokenLifetime(lifetime: Duration, leave: Int64) async throws {
        let ingest = try await ClockedIngest.start { $0.authenticator = Visa(lifetime: lifetime) }
        let agent = try await ingest.connect(node: "node-a")
        try await eventually("the agent is admitted") {
            await ingest.pass(.zero)
            return ingest.server.statistics.connectedAgents == 1
        }
        for _ in 0..<(leave - 1) / 10 {
            try await agent.send(AgentMessage.signOfLife)
            await ingest.pass(.seconds(10))
        }
        #expect(try await agent.messages() == [])
        await ingest.pass(.seconds(leave - (leave - 1) / 10 * 10))
        #expect(try await agent.messages().count == 1)
        #expect(agent.isConnected && ingest.server.statistics.errors == [:])
        try await agent.send(.batch(1))
        await ingest.pass(.seconds(lifetime.components.seconds - leave - 1))
        #expect(agent.isConnected)
        await ingest.pass(.seconds(1))
        #expect(!agent.isConnected && ingest.server.statistics.errors.count == 1)
        #expect(ingest.server.statistics.errors["token_expired"] == 1 || leave == 910)
    }

    @Test("a restarted server gets its share of the agents") func aServerThatComesBackGetsItsShare() async throws {
        let configure: (inout IngestServer.Configuration) -> Void = { $0.maximumConnectionAge = .seconds(2) }
        let first = try await TestIngest.start(configure)
        let port = try #require(first.address.port)
        let addresses = try ["127.0.0.1", "127.0.0.2"].map { try SocketAddress(ipAddress: $0, port: port) }
        var second = try await TestIngest.start(host: "127.0.0.2", port: port, configure)
        let agents = (0..<24).map { number in
            ExporterUnderTest(to: first.address, node: "node-\(number)") { $0.resolve = { _, _ in addresses } }
        }
        try await eventually("both servers have agents") {
            first.server.statistics.connectedAgents >= 4 && second.server.statistics.connectedAgents >= 4
        }
        await second.server.stopAccepting(reason: "restart")
        await second.server.closeConnections()
        // At any time some agents are reconnecting.
        try await eventually("most agents are connected to the first server") {
            first.server.statistics.connectedAgents >= 16
        }
        second = try await TestIngest.start(host: "127.0.0.2", port: port, configure)
        try await eventually("the second server has its share of the agents") {
            second.server.statistics.connectedAgents >= 4
        }

        for agent in agents { agent.export() }
        try await eventually("every agent's flow is acknowledged") {
            for ingest in [first, second] { BatchReceipt.acknowledge(ingest.deliveries().map(\.receipt)) }
            return agents.allSatisfy { $0.exporter.statistics.balance.acknowledged.flows == 1 }
        }
        #expect(first.deliveries().count + second.deliveries().count == 24)
        for agent in agents { try await agent.stop() }
    }
}
