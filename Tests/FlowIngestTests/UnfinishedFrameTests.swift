// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import TestSupport
import Testing

@testable import FlowIngest

/// Frames that have arrived only in part.
@Suite struct UnfinishedFrameTests {
    private static let receiveBufferBytes = 8 << 10

    /// Connects agents that each send the first `bytes` bytes of a batch.
    private func begin(_ ingest: TestIngest, agents: Int, bytes: Int, of batch: ByteBuffer) async throws -> [TestAgent]
    {
        let part = try #require(batch.getSlice(at: 0, length: bytes))
        var begun: [TestAgent] = []
        for number in 0..<agents {
            let agent = try await TestAgent.connect(to: ingest.address, node: "node-\(number)")
            try await agent.send(part)
            begun.append(agent)
        }
        return begun
    }

    private func limited() async throws -> TestIngest {
        try await TestIngest.start {
            $0.limits.unfinishedBytesPerSource = 64 << 10
            $0.limits.unfinishedBytes = 64 << 10
        }
    }

    @Test("a partial frame that fits the receive buffer is not counted")
    func whatFitsAReceiveBufferIsNotCounted() async throws {
        let ingest = try await limited()
        let batch = ByteBuffer.batch(1, (0..<1_000).map { .test($0) })
        // 256 KiB in all.
        let agents = try await begin(ingest, agents: 32, bytes: Self.receiveBufferBytes, of: batch)
        try await ingest.connectedAgents(32)
        try await ingest.turnLoops()
        var rest = batch
        rest.moveReaderIndex(forwardBy: Self.receiveBufferBytes)
        // One after another: a frame counts while its rest arrives.
        for (number, agent) in agents.enumerated() {
            try await agent.send(rest)
            _ = try await ingest.deliveries(number + 1)
        }
        #expect(ingest.deliveries().allSatisfy { $0.flows.count == 1_000 })
        #expect(ingest.server.statistics.errors == [:])
    }

    @Test("a partial frame that exceeds the receive buffer is counted and limited")
    func whatDoesNotFitOneIsCountedAndBounded() async throws {
        let ingest = try await limited()
        let batch = ByteBuffer.batch(1, (0..<1_000).map { .test($0) })
        let agents = try await begin(ingest, agents: 32, bytes: 9_000, of: batch)
        // Seven times 9,000 bytes fit 64 KiB.
        try await eventually("the frames above the limit are discarded") {
            ingest.server.statistics.errors == ["unfinished_frames": 25]
        }
        try await ingest.connectedAgents(7)
        #expect(ingest.deliveries().isEmpty)
        withExtendedLifetime(agents) {}
    }

    /// Without shrinking, the memory of a long frame would be kept for the beginning of the next one.
    @Test("a partial frame takes only the memory that it needs", arguments: [1, 4, 100, 8_192, 9_000, 100_000])
    func theBeginningOfAFrameTakesNoMoreThanItNeeds(_ length: Int) throws {
        var told = 0
        var decoder = MeteredFrameDecoder(receiveBufferBytes: Self.receiveBufferBytes) { told = $0 }
        var hello = ByteBuffer.hello(node: "node-a")
        #expect(try decoder.decode(buffer: &hello) != nil)

        let long = ByteBuffer.frame([UInt8](repeating: 7, count: Frame.maximumLength))
        let beginning = try #require(long.getSlice(at: 0, length: length))
        var buffer = ByteBuffer()
        for part in [long, beginning] { buffer.writeImmutableBuffer(part) }
        #expect(buffer.storageCapacity > Frame.maximumLength)
        #expect(try decoder.decode(buffer: &buffer)?.readableBytes == Frame.maximumLength)
        #expect(try decoder.decode(buffer: &buffer) == nil)
        #expect(buffer == beginning)
        #expect(buffer.storageCapacity <= 4 * max(length, Self.receiveBufferBytes))
        #expect(told == (length > Self.receiveBufferBytes ? length : 0))

        let rest = try #require(long.getSlice(at: length, length: long.readableBytes - length))
        buffer.writeImmutableBuffer(rest)
        #expect(try decoder.decode(buffer: &buffer)?.readableBytes == Frame.maximumLength)
        #expect(buffer.readableBytes == 0)
        #expect(told == 0)
    }
}
