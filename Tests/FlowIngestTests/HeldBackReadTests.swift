// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Glibc
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import FlowExport
@testable import FlowIngest

/// Connections while batches cannot be stored and nothing is read.
@Suite struct HeldBackReadTests {
    private func expectNothingTaken(_ ingest: TestIngest) async throws {
        try await eventually("the server has closed the agent's connection") {
            ingest.server.statistics.connections == 1 && ingest.server.statistics.openConnections == 0
        }
        ingest.server.setReading(true)
        try await ingest.turnLoops()
        #expect(ingest.server.statistics.batches == 0)
        #expect(ingest.deliveries().isEmpty)
    }

    @Test("unread batches of a closed connection are not accepted", arguments: [false, true])
    func whatIsLeftOfAnAgentThatHasGoneIsNotTaken(_ isReset: Bool) async throws {
        let ingest = try await TestIngest.start()
        ingest.server.setReading(false)
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(1), .batch(2))
        try await eventually("the connection is accepted") { ingest.server.statistics.connections == 1 }
        if isReset {
            let socket = try #require(agent.channel as? any SocketOptionProvider)
            try await socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        }
        try await agent.channel.close()
        try await expectNothingTaken(ingest)
        #expect(ingest.server.statistics.errors.keys.allSatisfy { $0 == "connection_lost" })
    }

    @Test("unread batches of a closed TLS connection are not accepted")
    func whatIsLeftOfAnEncryptedAgentThatHasGoneIsNotTaken() async throws {
        let certificates = try await TestCertificates()
        let ingest = try await TestIngest.start { $0.tls = certificates.serverFiles() }
        ingest.server.setReading(false)
        let agent = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: certificates.agentFiles()) }
        agent.export()
        try await eventually("the agent is connected") { agent.exporter.statistics.isConnected }
        try await agent.stop()
        try await expectNothingTaken(ingest)
    }

    @Test("an agent stays on one connection until its batches can be stored", arguments: [false, true])
    func anAgentWaitsOnOneConnectionUntilBatchesCanBeStored(_ isEncrypted: Bool) async throws {
        let certificates = try await TestCertificates()
        let ingest = try await TestIngest.start { if isEncrypted { $0.tls = certificates.serverFiles() } }
        ingest.server.setReading(false)
        let agent = ExporterUnderTest(to: ingest.address) {
            if isEncrypted { $0.tls = .init(files: certificates.agentFiles()) }
        }
        for number in 1...20 { agent.export(number) }
        try await eventually("the agent is connected") { agent.exporter.statistics.isConnected }
        try await ingest.turnLoops()
        #expect(ingest.deliveries().isEmpty)
        ingest.server.setReading(true)
        BatchReceipt.acknowledge(try await ingest.deliveries(20).map(\.receipt))
        try await agent.acknowledged(20)
        #expect(agent.exporter.statistics.connections == 1)
        try await agent.stop()
    }

    /// The inserter resumes reading while it holds a lock that every sink takes.
    @Test("resuming reads on an event loop delivers no batch during the call")
    func whoLetsReadingResumeOnAnEventLoopGetsNoBatchMeanwhile() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let ingest = try await TestIngest.start(group: group)
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await ingest.connectedAgents(1)
        ingest.server.setReading(false)
        // The pending read takes the batch off the socket.
        try await agent.send(.batch(1))
        try await ingest.turnLoops()
        let early = try await group.next().submit {
            ingest.server.setReading(true)
            return ingest.deliveries().count
        }.get()
        #expect(early == 0)
        _ = try await ingest.deliveries(1)
        try await agent.channel.close()
        await ingest.server.stopAccepting(reason: "the test is over")
        try await group.shutdownGracefully()
    }

    @Test("an agent does not leave a server that waits and sends heartbeats")
    func anAgentDoesNotLeaveAServerThatMerelyWaits() async throws {
        let ingest = try await TestIngest.start { $0.heartbeatInterval = .milliseconds(5) }
        ingest.server.setReading(false)
        let agent = ExporterUnderTest(to: ingest.address)
        agent.export()
        try await eventually("the agent is owed an acknowledgement") { try await agent.exporter.silentSince() != nil }
        let before = NIODeadline.now()
        try await eventually("the agent has received a heartbeat") {
            try await agent.exporter.silentSince().map { $0 > before } == true
        }
        #expect(agent.exporter.statistics.silentConnections == 0)
        #expect(agent.exporter.statistics.connections == 1)
        try await agent.stop()
    }

    @Test("a connection that was not read for the deadline is closed")
    func aConnectionThatMayBeNobodysTakesNoPlaceForEver() async throws {
        let ingest = try await TestIngest.start(helloDeadline: .milliseconds(100)) {
            $0.limits.idleDeadline = .milliseconds(300)
        }
        ingest.server.setReading(false)
        let silent = try await TestAgent.connect(to: ingest.address)
        try await silent.closed()
        try await eventually("the error is counted") { ingest.server.statistics.errors == ["not_read": 1] }
        try await eventually("the connection is closed") { ingest.server.statistics.openConnections == 0 }
    }
}
