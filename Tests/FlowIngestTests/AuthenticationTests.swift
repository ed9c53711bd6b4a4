// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowWire
import Foundation
import Logging
import NIOCore
import Secrets
import Synchronization
import TestSupport
import Testing
import TransportSecurity

@Suite struct AuthenticationTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func file(_ name: String, _ text: String) throws -> TokenFile {
        let url = folder.appending(path: name)
        try Data(text.utf8).write(to: url, options: .atomic)
        return TokenFile(url.path)
    }

    private func start(_ file: TokenFile) async throws -> TestIngest {
        try await TestIngest.start {
            $0.authenticator = SharedTokenAuthenticator(
                TokenSource(file, interval: .zero, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
        }
    }

    @Test("an agent with the server's token is admitted, and the token is not kept")
    func anAgentWithTheServersTokenIsLetInAndTheTokenForgotten() async throws {
        let ingest = try await start(try file("server", "old\nsecret\n"))
        let token = try file("agent", "secret\n")
        let agent = ExporterUnderTest(to: ingest.address) { $0.token = token }
        agent.export()
        let delivery = try await ingest.deliveries(1)[0]
        #expect(delivery.token == nil)
        BatchReceipt.acknowledge([delivery.receipt])
        try await agent.acknowledged(1)
        #expect(ingest.server.statistics.errors == [:])
        try await agent.stop()
    }

    @Test(
        "an agent with a wrong or missing token is rejected with a reason, and counted",
        arguments: [("other", "token_wrong"), (nil, "token_missing"), ("secret2", "token_wrong")])
    func anAgentWithoutItIsToldWhyAndCounted(_ token: String?, _ reason: String) async throws {
        let ingest = try await start(try file("server", "secret"))
        let agentFile = try token.map { try file("agent", $0) }
        let agent = ExporterUnderTest(to: ingest.address) { $0.token = agentFile }
        agent.export()
        try await agent.failed("refused")
        #expect(agent.exporter.statistics.refusal?.contains("TOKEN_FILE") == true)
        #expect(agent.exporter.statistics.refusal?.contains("secret") == false)
        #expect(Set(ingest.server.statistics.errors.keys) == [reason])
        #expect(ingest.deliveries().isEmpty)
        try await agent.stop()
    }

    @Test("a changed token file is reloaded by server and agent")
    func aTokenThatChangesIsReadAgainOnBothSides() async throws {
        let serverFile = try file("server", "one")
        let ingest = try await start(serverFile)
        let agentFile = try file("agent", "one")
        let agent = ExporterUnderTest(to: ingest.address) { $0.token = agentFile }
        agent.export()
        _ = try await ingest.deliveries(1)
        _ = try file("server", "two")
        let other = ExporterUnderTest(to: ingest.address, node: "node-b") { $0.token = agentFile }
        other.export()
        try await other.failed("refused")
        _ = try file("agent", "two")
        _ = try await ingest.deliveries(1, from: "node-b")
        #expect(agent.exporter.statistics.connections == 1)
        for agent in [agent, other] { try await agent.stop() }
    }

    // MARK: - While an agent is examined

    /// An authenticator whose verdicts come from the test.
    private final class Oracle: AgentAuthenticator {
        private let waiting = Mutex<[CheckedContinuation<AgentVerdict, Never>]>([])
        let claims = Mutex<[AgentClaim]>([])
        /// The nodes of agents whose examination was cancelled.
        let cancelled = Mutex<[String]>([])

        func examine(_ claim: AgentClaim) async -> AgentVerdict {
            claims.withLock { $0.append(claim) }
            return await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in waiting.withLock { $0.append(continuation) } }
            } onCancel: {
                cancelled.withLock { $0.append(claim.hello.nodeName) }
            }
        }

        func answer(_ verdict: AgentVerdict) async throws {
            try await eventually("a review is requested") { !self.waiting.withLock { $0.isEmpty } }
            waiting.withLock { $0.removeFirst() }.resume(returning: verdict)
        }
    }

    @Test("messages that arrive during the review are delivered after the admission")
    func whatComesBeforeTheDecisionWaitsForIt() async throws {
        let oracle = Oracle()
        let ingest = try await TestIngest.start { $0.authenticator = oracle }
        let agent = try await TestAgent.connect(to: ingest.address)
        var bytes = ByteBuffer.hello(node: "node-a")
        for sequence in 1...5 { bytes.writeImmutableBuffer(.batch(UInt64(sequence))) }
        try await agent.send(bytes)
        for sequence in 6...200 { try await agent.send(.batch(UInt64(sequence))) }
        try await eventually("the agent is reviewed") { oracle.claims.withLock { $0.count } == 1 }
        try await ingest.turnLoops()
        #expect(ingest.deliveries().isEmpty && ingest.server.statistics.connectedAgents == 0)
        try await oracle.answer(.admitted())
        #expect(try await ingest.deliveries(200).map(\.sequence) == Array(1...200))
    }

    @Test("too many messages during the review close the connection")
    func manyMessagesBeforeTheDecisionCostTheConnection() async throws {
        let ingest = try await TestIngest.start { $0.authenticator = Oracle() }
        let agent = try await TestAgent.connect(to: ingest.address)
        var bytes = ByteBuffer.hello(node: "node-a")
        bytes.writeRepeatingByte(0, count: 5_000 * Frame.headerLength)
        try await agent.send(bytes)
        try await agent.closed()
        #expect(ingest.server.statistics.errors == ["too_many_waiting": 1])
    }

    @Test("batches of a rejected agent are not delivered") func whoIsRefusedHasSentNothing() async throws {
        let oracle = Oracle()
        let ingest = try await TestIngest.start { $0.authenticator = oracle }
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(.batch(1))
        try await oracle.answer(.refused(reason: "node_mismatch", explanation: "you are somebody else"))
        try await agent.closed()
        #expect(try agent.messages == [.goAway(reason: "you are somebody else", isRefusal: true)])
        #expect(ingest.server.statistics.errors == ["node_mismatch": 1])
        #expect(ingest.deliveries().isEmpty)
    }

    @Test("an agent without a verdict retries and is then admitted")
    func whereNobodyCanTellTheAgentTriesAgain() async throws {
        let oracle = Oracle()
        let ingest = try await TestIngest.start { $0.authenticator = oracle }
        let agent = ExporterUnderTest(to: ingest.address)
        agent.export()
        try await oracle.answer(.undecided(reason: "review_failed", explanation: "the API server does not answer"))
        try await oracle.answer(.admitted())
        _ = try await ingest.deliveries(1)
        #expect(agent.exporter.statistics.refusal == nil)
        #expect(ingest.server.statistics.errors == ["review_failed": 1])
        try await agent.stop()
    }

    @Test("evicting a connection cancels its review, and silent connections are evicted first")
    func eviction() async throws {
        let oracle = Oracle()
        let ingest = try await TestIngest.start {
            $0.authenticator = oracle
            $0.limits.connections = 3
        }
        var agents: [TestAgent] = []
        for number in 1...2 {
            agents.append(try await TestAgent.connect(to: ingest.address, node: "node-\(number)"))
            try await eventually("the agent is reviewed") { oracle.claims.withLock { $0.count } == number }
        }
        agents.append(try await TestAgent.connect(to: ingest.address))
        try await eventually("the connection is accepted") { ingest.server.statistics.openConnections == 3 }
        agents.append(try await TestAgent.connect(to: ingest.address, node: "node-3"))
        try await agents[2].closed()
        try await eventually("the third agent is reviewed") { oracle.claims.withLock { $0.count } == 3 }
        #expect(oracle.cancelled.withLock { $0 } == [])
        agents.append(try await TestAgent.connect(to: ingest.address, node: "node-4"))
        try await agents[0].closed()
        try await eventually("the review is cancelled") { oracle.cancelled.withLock { $0 } == ["node-1"] }
        #expect(ingest.server.statistics.errors == ["too_many_connections": 2])
        for _ in 0..<4 { try await oracle.answer(.undecided(reason: "test", explanation: "the test is over")) }
        for agent in agents { try await agent.closed() }
    }

    @Test("closing a connection cancels its review") func whoLeavesWhileItIsExaminedIsForgotten() async throws {
        let oracle = Oracle()
        let ingest = try await TestIngest.start { $0.authenticator = oracle }
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await eventually("the agent is reviewed") { oracle.claims.withLock { $0.count } == 1 }
        try await agent.channel.close()
        try await eventually("the review is cancelled") { oracle.cancelled.withLock { $0 } == ["node-a"] }
        try await oracle.answer(.admitted())
        try await ingest.turnLoops()
        try await eventually("the connection is closed") { ingest.server.statistics.openConnections == 0 }
        #expect(ingest.server.statistics.connectedAgents == 0)
    }
}
