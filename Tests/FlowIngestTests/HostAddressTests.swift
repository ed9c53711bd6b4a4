// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowModel
import FlowWire
import NIOCore
import Secrets
import TestSupport
import Testing

/// The addresses of their hosts that agents report.
@Suite struct HostAddressTests {
    private static let (first, second) = (
        [IPAddress(v4: 0x0af4_0101)], [IPAddress(v4: 0x0af4_0101), IPAddress(bits: 0xfd << 120 | 1)]
    )

    private static func hello(_ addresses: [IPAddress]?, token: String? = nil) -> ByteBuffer {
        Hello(
            nodeName: "node-a", agentID: .random(), softwareVersion: "test", token: token.map { BearerToken($0) },
            hostAddresses: addresses
        ).frame()
    }

    private static func change(_ addresses: [IPAddress]) -> ByteBuffer { AgentMessage.frame(hostAddresses: addresses) }

    @Test("the sink gets an agent's addresses before its first batch, and later changes")
    func order() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(Self.hello(Self.first), .batch(1), Self.change(Self.second))
        _ = try await ingest.deliveries(1)
        try await eventually("both sets of addresses have arrived") { ingest.hostAddresses.count == 2 }
        #expect(ingest.hostAddresses.map(\.node) == ["node-a", "node-a"])
        #expect(ingest.hostAddresses.map(\.addresses) == [Self.first, Self.second])
        #expect(ingest.hostAddresses[0].batchesBefore == 0)
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a Hello without addresses differs from one with an empty list")
    func absent() async throws {
        let ingest = try await TestIngest.start()
        for hello in [Self.hello(nil), Self.hello([])] {
            let agent = try await TestAgent.connect(to: ingest.address)
            try await agent.send(hello, .batch(1))
        }
        _ = try await ingest.deliveries(2)
        #expect(ingest.hostAddresses.map(\.addresses) == [[]])
    }

    @Test("an exporter's addresses and their changes reach the sink")
    func exporter() async throws {
        let ingest = try await TestIngest.start()
        let agent = ExporterUnderTest(to: ingest.address, node: "node-b")
        agent.exporter.tell(hostAddresses: Self.first)
        try await eventually("the first addresses are reported") { ingest.hostAddresses.last?.addresses == Self.first }
        agent.exporter.tell(hostAddresses: Self.second)
        try await eventually("the second addresses are reported") {
            ingest.hostAddresses.last?.addresses == Self.second
        }
        #expect(ingest.hostAddresses.allSatisfy { $0.node == "node-b" })
        try await agent.stop()
    }

    private struct Doorkeeper: AgentAuthenticator {
        func examine(_ claim: AgentClaim) async -> AgentVerdict {
            claim.hello.token == BearerToken("good")
                ? .admitted() : .refused(reason: "token_wrong", explanation: "another token")
        }
    }

    @Test("the addresses of a rejected agent are not delivered")
    func refused() async throws {
        let ingest = try await TestIngest.start { $0.authenticator = Doorkeeper() }
        let stranger = try await TestAgent.connect(to: ingest.address)
        // In one write: the server may close the connection between two.
        var bytes = Self.hello(Self.first, token: "bad")
        bytes.writeImmutableBuffer(Self.change(Self.first))
        try await stranger.send(bytes)
        try await stranger.closed()
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(Self.hello(Self.second, token: "good"))
        try await eventually("the agent's addresses have arrived") { !ingest.hostAddresses.isEmpty }
        #expect(ingest.hostAddresses.map(\.addresses) == [Self.second])
    }

    @Test("addresses before Hello close the connection")
    func beforeHello() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(Self.change(Self.first))
        try await agent.closed()
        #expect(ingest.server.statistics.errors == ["unexpected_message": 1])
        #expect(ingest.hostAddresses == [])
    }

    @Test("too many addresses close the connection, in Hello and later")
    func tooMany() async throws {
        let ingest = try await TestIngest.start()
        // 257 IPv4 addresses of 4 bytes take 1,028 bytes, and 1,031 with tag and length.
        let addresses = [0x0a, 0x84, 0x08] + [UInt8](repeating: 7, count: 1_028)
        let late = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await late.send(.frame([0x1a, 0x87, 0x08] + addresses))
        try await late.closed()
        let id = [0x1a, 0x10] + [UInt8](repeating: 1, count: 16)
        let early = try await TestAgent.connect(to: ingest.address)
        try await early.send(.frame([0x0a, 0x9c, 0x08] + id + [0x32, 0x87, 0x08] + addresses))
        try await early.closed()
        #expect(ingest.server.statistics.errors == ["malformed_message": 2])
        #expect(ingest.hostAddresses == [])
    }

    @Test("of many changes the sink gets at most one a second, and finally the newest")
    func flood() async throws {
        let ingest = try await ClockedIngest.start()
        let agent = try await ingest.connect()
        try await agent.send(Self.hello([]))
        #expect(ingest.hostAddresses == [[]])
        for number in 1...1_000 { try await agent.send(Self.change([IPAddress(v4: UInt32(number))])) }
        await ingest.pass(.milliseconds(999))
        #expect(ingest.hostAddresses == [[]])
        await ingest.pass(.milliseconds(1))
        #expect(ingest.hostAddresses == [[], [IPAddress(v4: 1_000)]])
        try await agent.send(Self.change(Self.first))
        await ingest.pass(.milliseconds(500))
        #expect(ingest.hostAddresses.count == 2)
        await ingest.pass(.milliseconds(500))
        #expect(ingest.hostAddresses.last == Self.first)
        // After a quiet second, the next update is passed on at once.
        await ingest.pass(.seconds(1))
        try await agent.send(Self.change(Self.second))
        #expect(ingest.hostAddresses == [[], [IPAddress(v4: 1_000)], Self.first, Self.second])
        #expect(agent.isConnected && ingest.server.statistics.errors == [:])
    }
}
