// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowModel
import FlowWire
import Glibc
import NIOCore
import TestSupport
import Testing

@Suite struct AgentConnectionHandlerTests {
    /// Input that an agent must not send, and the reason under which it is counted.
    struct BadInput: CustomTestStringConvertible {
        let testDescription: String
        let reason: String
        var isIntroduced = true
        let bytes: [ByteBuffer]
        /// Whether the agent closes the connection after sending it.
        var isClosedByAgent = false
    }

    @Test(
        "malformed input is counted by reason and closes only its sender's connection",
        arguments: [
            BadInput(
                testDescription: "a frame that is too long", reason: "frame_too_long",
                bytes: [ByteBuffer(integer: UInt32(Frame.maximumLength) + 1)]),
            BadInput(
                testDescription: "HTTP instead of Hello", reason: "frame_too_long", isIntroduced: false,
                bytes: [ByteBuffer(string: "GET /metrics HTTP/1.1\r\nHost: kubenetmon-server\r\n\r\n")]),
            BadInput(
                testDescription: "a TLS greeting instead of Hello", reason: "frame_too_long", isIntroduced: false,
                bytes: [ByteBuffer(bytes: [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])]),
            BadInput(
                testDescription: "a frame that ends early", reason: "truncated_frame",
                bytes: [ByteBuffer(bytes: [0, 0, 1, 0, 0x12])], isClosedByAgent: true),
            BadInput(
                testDescription: "half a length", reason: "truncated_frame", isIntroduced: false,
                bytes: [ByteBuffer(bytes: [0, 0])], isClosedByAgent: true),
            BadInput(testDescription: "garbage", reason: "not_a_message", bytes: [.frame([0xff, 0xff, 0xff])]),
            BadInput(
                testDescription: "garbage instead of Hello", reason: "not_a_message", isIntroduced: false,
                bytes: [.frame([0, 1, 2, 3])]),
            BadInput(
                testDescription: "a frame of unknown fields", reason: "too_many_fields",
                bytes: [.frame([UInt8](repeating: 0x78, count: Frame.maximumLength))]),
            BadInput(
                testDescription: "a Hello of unknown fields", reason: "too_many_fields", isIntroduced: false,
                bytes: [.frame([0x0a, 0xd0, 0x0f] + [UInt8](repeating: 0x78, count: 2_000))]),
            // A transport but no addresses.
            BadInput(
                testDescription: "columns that do not fit together", reason: "malformed_message",
                bytes: [.frame([0x12, 3, 0x4a, 1, 6])]),
            BadInput(
                testDescription: "an id of three bytes", reason: "malformed_message", isIntroduced: false,
                bytes: [.frame([0x0a, 7, 0x08, 1, 0x1a, 3, 1, 2, 3])]),
            BadInput(
                testDescription: "a batch before Hello", reason: "unexpected_message", isIntroduced: false,
                bytes: [.batch(1)]),
            BadInput(testDescription: "a second Hello", reason: "unexpected_message", bytes: [.hello(node: "node-b")]),
            BadInput(
                testDescription: "a Hello without a node", reason: "no_node_name", isIntroduced: false,
                bytes: [.hello(node: "")]),
            BadInput(
                testDescription: "a later version", reason: "unsupported_version", isIntroduced: false,
                bytes: [.hello(node: "node-b", version: 2)]),
            BadInput(
                testDescription: "no version", reason: "unsupported_version", isIntroduced: false,
                bytes: [.hello(node: "node-b", version: 0)]),
            BadInput(
                testDescription: "garbage and a batch behind it", reason: "not_a_message",
                bytes: [.frame([0xff]), .batch(1)]),
        ])
    func badInputCostsItsSenderTheConnectionAndNobodyElseAnything(_ input: BadInput) async throws {
        let ingest = try await TestIngest.start()
        let other = try await TestAgent.connect(to: ingest.address, node: "other")
        let agent = try await TestAgent.connect(to: ingest.address, node: input.isIntroduced ? "bad" : nil)
        try await ingest.connectedAgents(input.isIntroduced ? 2 : 1)
        // In one write: the server may close the connection before a second one.
        try await agent.send(input.bytes.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) })
        // A close in both directions resets the connection if a message of the server has not been read.
        if input.isClosedByAgent { try await agent.channel.close(mode: .output) }
        try await agent.closed()
        try await eventually("the error is counted") { ingest.server.statistics.errors == [input.reason: 1] }
        try await ingest.connectedAgents(1)

        try await other.send(.batch(1, [.test(1)]))
        let deliveries = try await ingest.deliveries(1)
        #expect(deliveries.map(\.node) == ["other"])
        BatchReceipt.acknowledge(deliveries.map(\.receipt))
        #expect(try await other.messages(1) == [.ack([1])])
        #expect(ingest.server.statistics.errors == [input.reason: 1])
    }

    @Test(
        "an agent of another protocol version gets GoAway with the server's version", arguments: [UInt32(0), 2, .max])
    func anAgentOfAnotherVersionIsToldWhatTheServerSpeaks(_ version: UInt32) async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address)
        // The agent sends its batches without waiting for a response.
        var bytes = ByteBuffer.hello(node: "node-a", version: version)
        for sequence in 1...2_000 { bytes.writeImmutableBuffer(.batch(UInt64(sequence))) }
        agent.channel.writeAndFlush(bytes, promise: nil)
        try await agent.closed()
        let messages = try agent.messages
        guard messages.count == 1, case .goAway(let reason, supportedProtocolVersion: 1, isRefusal: false) = messages[0]
        else {
            Issue.record("\(messages)")
            return
        }
        #expect(reason.contains("\(version)"))
        #expect(ingest.deliveries().isEmpty)
    }

    @Test("unknown messages of an agent are skipped") func messagesOfALaterProtocolArePassedOver() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address)
        // An empty frame, and a message of field 9 with three bytes.
        for unknown in [ByteBuffer.frame([]), .frame([0x4a, 3, 1, 2, 3])] { try await agent.send(unknown) }
        try await agent.send(.hello(node: "node-a"), .frame([]), .batch(1))
        _ = try await ingest.deliveries(1)
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a batch with unknown fields and columns is accepted")
    func laterBatch() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        // Batch 7 without flows, with field 60 a hundred times, and with a text in field 61 that looks like many
        // fields.
        let unknown = [UInt8](repeating: 0, count: 100).flatMap { _ in [0xe0, 0x03, 0x01] as [UInt8] }
        let text: [UInt8] = [0xea, 0x03, 0xe8, 0x07] + [UInt8](repeating: 0x78, count: 1_000)
        let batch: [UInt8] = [0x08, 0x07] + unknown + text
        let length = [UInt8(batch.count & 0x7f | 0x80), UInt8(batch.count >> 7)]
        try await agent.send(.frame([0x12] + length + batch + text), .batch(8))
        #expect(try await ingest.deliveries(2).map(\.sequence) == [7, 8])
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a connection without Hello is closed after the deadline")
    func aConnectionWithoutHelloIsClosedAfterAWhile() async throws {
        let ingest = try await TestIngest.start(helloDeadline: .milliseconds(200))
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.closed()
        try await eventually("the error is counted") { ingest.server.statistics.errors == ["no_hello": 1] }
    }

    @Test("deadlines do not run while the server does not read")
    func whatTheServerDoesNotReadIsNotLate() async throws {
        let ingest = try await ClockedIngest.start()
        ingest.server.setReading(false)
        let agent = try await ingest.connect(node: "node-a")
        let silent = try await ingest.connect()
        try await agent.send(.batch(1))
        await ingest.pass(.minutes(1))
        #expect(silent.isConnected && ingest.server.statistics.batches == 0)
        #expect(ingest.server.statistics.errors == [:])
        ingest.server.setReading(true)
        await ingest.pass(.seconds(9))
        #expect(silent.isConnected && ingest.server.statistics.batches == 1)
        await ingest.pass(.seconds(1))
        #expect(!silent.isConnected && agent.isConnected)
        #expect(ingest.server.statistics.errors == ["no_hello": 1])
    }

    @Test("an agent that sends only heartbeats stays; a silent one is closed after five minutes")
    func idleAgents() async throws {
        let ingest = try await ClockedIngest.start()
        let idle = try await ingest.connect(node: "idle")
        let silent = try await ingest.connect(node: "silent")
        for minute in 1...60 {
            await ingest.pass(.minutes(1))
            #expect(silent.isConnected == (minute < 5))
            try await idle.send(AgentMessage.signOfLife)
        }
        #expect(idle.isConnected && ingest.server.statistics.errors == ["idle": 1])
        await ingest.pass(.minutes(5))
        #expect(!idle.isConnected && ingest.server.statistics.errors == ["idle": 2])
    }

    @Test("bytes that do not complete a message do not keep a connection open")
    func drippingAgent() async throws {
        let ingest = try await ClockedIngest.start()
        let agent = try await ingest.connect(node: "node-a")
        try await agent.send(ByteBuffer(integer: UInt32(1_000)))
        for minute in 1...5 {
            #expect(agent.isConnected, "minute \(minute)")
            try await agent.send(ByteBuffer(bytes: [0]))
            await ingest.pass(.minutes(1))
        }
        #expect(!agent.isConnected && ingest.server.statistics.errors == ["idle": 1])
    }

    @Test("a reset connection is no longer counted as a connected agent")
    func anAgentThatResetsItsConnectionIsForgotten() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await ingest.connectedAgents(1)
        let socket = try #require(agent.channel as? any SocketOptionProvider)
        try await socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try await agent.channel.close()
        try await ingest.connectedAgents(0)
    }
}
