// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowBlocksTestKit
import FlowIngest
import FlowModel
import FlowWire
import Labeling
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import FlowBlocks

/// The labels and minutes of flows whose agent's clock differs from the server's.
@Suite struct ClockSkewTests {
    /// 2026-03-01 12:00:00 UTC, by the server's clock.
    private static let noon: Int64 = 1_772_366_400

    /// The rows of one flow of a young pod, and why flows are not recorded.
    private struct Result {
        var pods: [String] = []
        var minutes: [UInt32] = []
        var ignored: Set<String> = []
    }

    /// Lets an agent send a flow, observed just now, between an outside address and a pod that started 20 s ago.
    ///
    /// - Parameters:
    ///   - lead: How far the node's clock is ahead of the server's, in seconds.
    ///   - isOld: Whether the agent does not say when it sends messages.
    private func result(lead: Int64, isOld: Bool) async throws -> Result {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let (pod, outside) = (try #require(IPAddress("10.0.0.1")), try #require(IPAddress("192.0.2.99")))
        let index = ClusterIndex(site: Site(environment: "test", cloud: "aws", region: "eu-central-1", cluster: "main"))
        index.add(
            Inventory(
                nodes: [Node(name: "node-a", addresses: [try #require(IPAddress("172.18.0.2"))])],
                pods: [
                    Pod(
                        namespace: "shop", name: "young", node: "node-a", addresses: [pod],
                        startedAt: UInt32(Self.noon - 20))
                ]))
        var rules = Labeler.Configuration()
        rules.ignoreUnknownDirection = true
        let labeler = Labeler(index: index, configuration: rules)
        let ledger = BlockLedger(maximumBytes: .max)
        let sink = MemorySink(account: ledger.openAccount())
        let assembler = Mutex<NIOLoopBound<FlowAssembler>?>(nil)
        var access = IngestServer.Configuration()
        access.clock = { ClockReading(wallMilliseconds: Self.noon * 1_000, bootMilliseconds: 1_000_000) }
        let server = try await IngestServer(
            group: group, configuration: access, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { eventLoop in
            let made = FlowAssembler(
                eventLoop: eventLoop, labeler: labeler, environment: "test",
                limits: FlowAssembler.Limits(rows: 1_000, bytes: .max, age: .hours(1)), ledger: ledger, sink: sink,
                now: { UInt32(Self.noon) })
            assembler.withLock { $0 = NIOLoopBound(made, eventLoop: eventLoop) }
            return made
        }
        let address = try await server.listen(on: IPAddress("127.0.0.1"), port: 0)
        let agent = try await ClientBootstrap(group: group).connect(to: address).get()
        let tuple = FlowTuple(source: outside, destination: pod, sourcePort: 40_000, destinationPort: 443)
        var builder = FlowBatchBuilder(family: .ipv4)
        builder.append(
            Flow(
                transport: .tcp, original: tuple, reply: tuple.mirrored,
                originalCounters: FlowCounters(packets: 1, bytes: 100),
                replyCounters: FlowCounters(packets: 2, bytes: 200)))
        let now = (Self.noon + lead) * 1_000
        let time = try #require(SendTime(milliseconds: now))
        for frame in [
            Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame(),
            builder.takeFrame(sequence: 1, observedAtMilliseconds: UInt64(now - 1_000)),
        ] {
            for bytes in isOld ? [frame] : time.stamp(frame) { try await agent.writeAndFlush(bytes) }
        }
        try await eventually("the flow is received") { ledger.statistics.flows.received.flows == 1 }
        let bound = try #require(assembler.withLock { $0 })
        try await bound.eventLoop.flatSubmit { bound.value.flush() }.get()
        var result = Result(ignored: Set(ledger.statistics.flows.ignored.keys))
        var rows = FlowRows()
        for block in sink.blocks {
            rows.load(block)
            result.minutes += rows.intervalStart
            result.pods += rows.local.labels.map { block.endpoints[Int($0)][.pod] }
        }
        try await agent.close()
        await server.stopAccepting(reason: "the test is over")
        await server.closeConnections()
        try await group.shutdownGracefully()
        return result
    }

    @Test("a node that is 90 s behind keeps the flows of a pod younger than 30 s")
    func behind() async throws {
        let result = try await result(lead: -90, isOld: false)
        #expect(result.pods == ["young", "young"] && result.ignored == [])
        #expect(result.minutes == [UInt32(Self.noon - 60), UInt32(Self.noon - 60)])
    }

    @Test("a node that is 300 s ahead has no row in the future")
    func ahead() async throws {
        let result = try await result(lead: 300, isOld: false)
        #expect(result.pods == ["young", "young"])
        #expect(result.minutes == [UInt32(Self.noon - 60), UInt32(Self.noon - 60)])
    }

    @Test("of an agent that does not say when it sends, the observation time stays")
    func old() async throws {
        let behind = try await result(lead: -90, isOld: true)
        #expect(behind.pods != ["young", "young"])
        let ahead = try await result(lead: 300, isOld: true)
        #expect(ahead.minutes == [UInt32(Self.noon + 240), UInt32(Self.noon + 240)])
    }
}
