// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import NIOCore
import TestSupport
import Testing

@Suite struct EveryAddressTests {
    @Test("agents connect over IPv4 and IPv6, and each address has its own limit")
    func agentsComeOverEitherFamilyAndEachAddressHasItsOwnLimit() async throws {
        try NetworkNamespace.requireSandbox()
        let ingest = try await TestIngest.start(host: nil) { $0.limits.connectionsPerSource = 2 }
        let port = try #require(ingest.address.port)
        let v4 = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let v6 = try SocketAddress(ipAddress: "::1", port: port)
        var agents: [TestAgent] = []
        for number in 1...2 {
            for source in ["127.0.0.2", "127.0.0.3"] {
                agents.append(try await TestAgent.connect(to: v4, node: "\(source)-\(number)", from: source))
            }
            agents.append(try await TestAgent.connect(to: v6, node: "v6-\(number)"))
        }
        try await ingest.connectedAgents(6)
        // The displayed address is the agent's own, not the IPv4-mapped one of a socket for both families.
        let seen = Set(ingest.server.agents(atMost: 6).map(\.remoteAddress))
        #expect(seen == ["127.0.0.2", "127.0.0.3", "::1"])
        for (address, source) in [(v4, "127.0.0.2"), (v6, "::1")] {
            _ = try? await TestAgent.connect(to: address, node: "too many", from: source)
        }
        try await eventually("both connections are rejected") {
            ingest.server.statistics.errors.values.reduce(0, +) == 2
        }
        #expect(ingest.server.statistics.connectedAgents == 6)
        for agent in agents { try await agent.channel.close() }
    }
}
