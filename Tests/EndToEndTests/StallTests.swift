// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// An agent that sends one batch after another as fast as the server reads, and hears which it may forget.
private final class EagerAgent: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    static let flowsPerBatch = 1_000
    private let acknowledged = Mutex<Set<UInt64>>([])

    var acknowledgedBatches: Int { acknowledged.withLock { $0.count } }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .ack(let sequences)? = try? ServerMessage(decoding: unwrapInboundIn(data)) else { return }
        acknowledged.withLock { $0.formUnion(sequences) }
    }

    /// Sends so many batches. The flows of agents with different numbers differ, and so do all flows of one.
    func send(_ batches: Int, as number: UInt32) async throws {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(ByteToMessageHandler(FrameDecoder()), self)
                }
            }
            .connect(host: "127.0.0.1", port: ServerUnderTest.port).get()
        try await channel.writeAndFlush(Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame())
        for batch in 0..<batches {
            try await channel.writeAndFlush(Self.batch(UInt32(batch), of: number))
        }
    }

    private static func batch(_ batch: UInt32, of agent: UInt32) -> ByteBuffer {
        var builder = FlowBatchBuilder(family: .ipv4)
        for flow in 0..<UInt32(flowsPerBatch) {
            let tuple = FlowTuple(
                source: IPAddress(v4: 0x0af4_0114), destination: IPAddress(v4: 0x2d00_0000 | agent << 16 | batch),
                sourcePort: UInt16(10_000 + flow), destinationPort: 443)
            builder.append(
                Flow(
                    transport: .tcp, original: tuple, reply: tuple.mirrored,
                    originalCounters: FlowCounters(packets: 1, bytes: 1_000),
                    replyCounters: FlowCounters(packets: 1, bytes: 2_000)))
        }
        return builder.takeFrame(
            sequence: UInt64(batch), observedAtMilliseconds: UInt64(Date.now.timeIntervalSince1970 * 1000))
    }
}

extension EndToEndTests {
    /// The load would fill the memory for what waits three times.
    @Test func aClickHouseThatStallsUnderLoadCostsNeitherMemoryNorRows() async throws {
        let (bound, megabyte) = (8 << 20, 1_000_000)
        let (agents, batchesPerAgent) = (8, 44)
        let flows = agents * batchesPerAgent * EagerAgent.flowsPerBatch
        #expect(flows * 72 > 3 * bound)

        let database = try await TestDatabase.make()
        let isStalled = Mutex(true)
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            while request.parameter("query")?.hasPrefix("INSERT") == true, isStalled.withLock({ $0 }) {
                Thread.sleep(forTimeInterval: 0.02)
            }
            return .none
        }
        let server = try ServerUnderTest.start(
            database, endpoint: proxy.url,
            extraKeys: "clickhouse_max_queued_bytes: \(bound)\nclickhouse_batch_size: 20000\nclickhouse_timeout: 1h")
        try await server.waitUntilReady()
        let senders = (0..<agents).map { _ in EagerAgent() }
        async let sending: Void = withThrowingTaskGroup(of: Void.self) { group in
            for (number, sender) in senders.enumerated() {
                group.addTask { try await sender.send(batchesPerAgent, as: UInt32(number)) }
            }
            try await group.waitForAll()
        }

        try await eventually("agents are not read from any more") {
            try await server.backpressureSeconds() > 0
        }
        var batches: UInt64 = 0
        try await eventually("what was under way has arrived") {
            let before = batches
            batches = try await server.metric("kubenetmon_server_batches_total")
            return batches == before
        }
        #expect(batches < agents * batchesPerAgent / 2)
        #expect(try await server.metric("kubenetmon_worker_inserted_bytes_total") == 0)
        #expect(senders.allSatisfy { $0.acknowledgedBatches == 0 })

        isStalled.withLock { $0 = false }
        try await sending
        try await eventually("every batch is acknowledged") {
            senders.allSatisfy { $0.acknowledgedBatches == batchesPerAgent }
        }
        let sums = try await database.rows("SELECT count(), sum(bytes), sum(packets) FROM network_flows_0")
        #expect(sums == [["\(2 * flows)", "\(3_000 * flows)", "\(2 * flows)"]])
        let peak = try server.peakMemoryBytes()
        #expect(peak < bound + 60 * megabyte, "\(peak / megabyte) MB")
        try await server.stop()
    }
}

extension ServerUnderTest {
    /// The most resident memory that the server has had.
    fileprivate func peakMemoryBytes() throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
        guard let kibibytes = status.firstMatch(of: /VmHWM:\s+(\d+) kB/).flatMap({ Int($0.output.1) }) else {
            throw TestEnvironmentError("no VmHWM in \(status)")
        }
        return kibibytes << 10
    }
}
