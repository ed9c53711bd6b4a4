// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import FlowIngest

/// Agents that do not read the server's responses.
@Suite struct UnreadAnswersTests {
    /// Separate from the group of all other tests: thousands of steps would wait for these.
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    @Test("unread acknowledgements and heartbeats of an agent are limited")
    func whatWaitsToBeReadIsBounded() async throws {
        let heartbeatInterval = TimeAmount.microseconds(500)
        let ingest = try await TestIngest.start(group: Self.group) { $0.heartbeatInterval = heartbeatInterval }
        // Small buffers of the kernel, so that little waits there.
        let agent = try await TestAgent.connect(
            to: ingest.address, node: "node-a", receiveBuffer: 8 << 10, on: Self.group)
        // The sequence number makes acknowledgements as long as they can be.
        let batch = ByteBuffer.batch(.max - 1)
        try await agent.send(batch)
        let receipt = try await ingest.deliveries(1)[0].receipt
        let channel = receipt.channel
        try await channel.setOption(.socketOption(.so_sndbuf), value: 32 << 10).get()
        // Without TCP_USER_TIMEOUT, by which the kernel closes the connection of an agent that reads nothing for half a
        // minute: on a busy machine, this test takes longer.
        try await channel.setOption(.tcpOption(.init(rawValue: 18)), value: 0).get()
        BatchReceipt.acknowledge([receipt])
        #expect(try await agent.messages(1) == [.ack([.max - 1])])

        // The same batch is sent repeatedly, and acknowledged at once each time.
        try await agent.channel.setOption(.autoRead, value: false).get()
        let repetitions = 24_000
        let bytes = (0..<repetitions).reduce(into: ByteBuffer()) { bytes, _ in bytes.writeImmutableBuffer(batch) }
        agent.channel.writeAndFlush(bytes, promise: nil)
        try await eventually("the server's socket is not writable") { !channel.isWritable }
        // A heartbeat is due before each of these tasks.
        for _ in 0..<1_000 { try await channel.eventLoop.scheduleTask(in: heartbeatInterval) {}.futureResult.get() }
        #expect(ingest.server.statistics.duplicateBatches < repetitions / 2)
        // NIO's high watermark, and the acknowledgements for the last read of 8 KiB.
        #expect(try await channel.getOption(.bufferedWritableBytes).get() <= (64 + 4) << 10)

        try await agent.channel.setOption(.autoRead, value: true).get()
        try await eventually("the remaining batches are read") {
            ingest.server.statistics.duplicateBatches == repetitions
        }
        #expect(try await agent.messages(repetitions + 1).allSatisfy { $0 == .ack([.max - 1]) })
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a server's connections detect dead peers")
    func deadPeers() async throws {
        let ingest = try await TestIngest.start()
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(ByteBuffer.batch(1))
        let channel = try await ingest.deliveries(1)[0].receipt.channel
        #expect(try await channel.getOption(.socketOption(.so_keepalive)).get() == 1)
        // TCP_USER_TIMEOUT in milliseconds.
        #expect(try await channel.getOption(.tcpOption(.init(rawValue: 18))).get() == 30_000)
    }

    @Test("of many log lines of a kind, the first five are written")
    func manyLines() async throws {
        let lines = WarningLog.Lines()
        let ingest = try await TestIngest.start(logger: Logger(label: "test") { _ in WarningLog(lines) })
        for number in 0..<20 { ingest.server.log("kind", .warning, "line \(number)", [:]) }
        ingest.server.log("other", .warning, "other", [:])
        #expect(lines.all.withLock { $0 } == (0..<5).map { "line \($0)" } + ["other"])
    }

    @Test("a second GoAway does not extend the departure deadline")
    func anAgentThatIsAskedTwiceToGoIsClosedOnce() async throws {
        let ingest = try await ClockedIngest.start { $0.maximumConnectionAge = .seconds(30) }
        let agent = try await ingest.connect(node: "node-a")
        await ingest.pass(.seconds(33))
        #expect(try await agent.messages().count == 1)
        await ingest.server.stopAccepting(reason: "restart")
        await ingest.pass(.zero)
        #expect(try await agent.messages() == [.goAway(reason: "restart", supportedProtocolVersion: 0)])
        #expect(agent.isConnected)
        await ingest.pass(.seconds(90))
        #expect(!agent.isConnected)
        #expect(ingest.server.statistics.errors == ["stayed": 1])
        #expect(ingest.server.statistics.agedConnections == 1)
    }
}
