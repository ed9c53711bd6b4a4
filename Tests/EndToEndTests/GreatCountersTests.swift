// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// Counters beyond any network's, from an agent that is damaged or lies.
extension EndToEndTests {
    private func flow(_ port: UInt16, bytes: UInt64) throws -> Flow {
        let tuple = FlowTuple(
            source: try #require(IPAddress("10.244.1.20")), destination: try #require(IPAddress("10.244.2.10")),
            sourcePort: port, destinationPort: 443)
        let counters = FlowCounters(packets: 1, bytes: bytes)
        return Flow(
            transport: .tcp, original: tuple, reply: tuple.mirrored, originalCounters: counters,
            replyCounters: counters)
    }

    @Test("the server's pages work whatever counters its agents send")
    func greatCounters() async throws {
        let database = try await TestDatabase.make()
        let server = try ServerUnderTest.start(database, extraKeys: "status_page: everyone")
        try await server.waitUntilReady()
        let agent = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: ServerUnderTest.port).get()
        try await agent.writeAndFlush(
            Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame())
        var builder = FlowBatchBuilder(family: .ipv4)
        for bytes in [1 << 63, 1 << 63, .max, .max, FlowCounters.maximum + 1] as [UInt64] {
            builder.append(try flow(1, bytes: bytes))
        }
        try await agent.writeAndFlush(builder.takeFrame(sequence: 1, observedAtMilliseconds: 0))
        try await eventually("the impossible flows are rejected") {
            try await server.metric("kubenetmon_server_impossible_flows_total") == 5
        }
        // Each counter is possible, but their sum exceeds 64 bits.
        let batches: UInt64 = 20
        for sequence in 1...batches {
            for port in 1...UInt16(FlowBatchBuilder.maximumFlows) {
                builder.append(try flow(port, bytes: FlowCounters.maximum))
            }
            try await agent.writeAndFlush(builder.takeFrame(sequence: 1 + sequence, observedAtMilliseconds: 0))
        }
        try await eventually("all other flows are stored") {
            try await server.metric("kubenetmon_worker_inserted_flows_total")
                == batches * UInt64(FlowBatchBuilder.maximumFlows)
        }
        let page = try await server.probe("/")
        // A minute may have ended meanwhile, and the amounts in the two lines of top talkers depend on that.
        #expect(page.status == 200 && page.body.contains("id=\"talkers\"") && page.body.contains("0.0 %"))
        #expect(try await server.probe("/metrics").status == 200)
        #expect(try await server.probe("/ready").status == 200)
        try await agent.close()
        try await server.stop()
    }
}
