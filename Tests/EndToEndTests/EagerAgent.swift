// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// An agent that sends batches back to back, as fast as the server reads, and records the acknowledged ones.
final class EagerAgent: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    static let flowsPerBatch = 1_000
    private let acknowledged = Mutex<Set<UInt64>>([])

    var acknowledgedBatches: Int { acknowledged.withLock { $0.count } }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .ack(let sequences, _)? = try? ServerMessage(decoding: unwrapInboundIn(data)) else { return }
        acknowledged.withLock { $0.formUnion(sequences) }
    }

    /// Sends batches with these numbers. The first was observed `secondsAgo` seconds ago, each other a minute after the
    /// one before. All flows of an agent differ, and so do the flows of agents with different numbers.
    func send(_ batches: Range<Int>, as number: UInt32, secondsAgo: Double = 0) async throws {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(ByteToMessageHandler(FrameDecoder()), self)
                }
            }
            .connect(host: "127.0.0.1", port: ServerUnderTest.port).get()
        try await channel.writeAndFlush(Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame())
        for (place, batch) in batches.enumerated() {
            let age = max(0, secondsAgo - 60 * Double(place))
            try await channel.writeAndFlush(Self.batch(UInt32(batch), of: number, observedAt: Date.now - age))
        }
    }

    private static func batch(_ batch: UInt32, of agent: UInt32, observedAt: Date) -> ByteBuffer {
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
            sequence: UInt64(batch), observedAtMilliseconds: UInt64(observedAt.timeIntervalSince1970 * 1000))
    }
}
