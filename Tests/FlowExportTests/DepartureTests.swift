// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// Servers that ask the agent to go, or that do not read.
@Suite struct DepartureTests {
    private func exporter(
        to server: RecordingServer, _ configure: (inout FlowExporter.Configuration) -> Void
    ) -> FlowExporter {
        var configuration = FlowExporter.Configuration(host: "127.0.0.1", port: server.port)
        configure(&configuration)
        return FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test func aServerThatAsksAgainAndAgainIsLeftOnceAndInTime() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server) { $0.departureTimeout = .seconds(1) }
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        exporter.start()
        let first = try await server.connection(0)
        let batches = try await first.batches(1)
        try await eventually("the agent goes although it has not been acknowledged") {
            try? await first.say(.goAway(reason: "the connection has reached its maximum age"))
            return server.connections.count > 1
        }
        try await first.closed()
        let second = try await server.connection(1)
        #expect(try await second.batches(1) == batches)
        // Longer than anything that could be left of the first departure.
        try await Task.sleep(for: .seconds(2))
        #expect(exporter.statistics.connections == 2 && exporter.statistics.isConnected)
        try await second.say(.ack([1]))
        try await eventually("it is acknowledged") { exporter.statistics.acknowledgedFlows == 1 }
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test func aServerThatDoesNotReadFindsNoHeapOfSignsOfLife() async throws {
        let server = try RecordingServer()
        try await server.listen(isReading: false)
        let exporter = exporter(to: server) {
            $0.signOfLifeInterval = .milliseconds(1)
            $0.maximumUnacknowledgedBytes = 1 << 30
        }
        // More than the kernel takes. This server does not look into batches.
        var frame = ByteBuffer(integer: UInt32(1 << 20))
        frame.writeRepeatingByte(0, count: 1 << 20)
        for _ in 0..<16 {
            exporter.export(FlowAmount(), of: .scrape) { [frame] sequence in
                ExportBatch(
                    sequence: sequence, observedAtMilliseconds: 0, frame: frame, flows: 0, reportedBytes: 0)
            }
        }
        exporter.start()
        try await eventually("it is connected") { exporter.statistics.isConnected }
        try await Task.sleep(for: .seconds(3))
        let connection = try #require(server.connections.first)
        let began = ContinuousClock.now
        try await connection.read()
        try await eventually("a thousand signs of life have come") {
            connection.batches.count { $0.readableBytes == 0 } >= 1_000
        }
        // Had they been waiting, they would have come at once; as it is, one comes in a millisecond.
        #expect(ContinuousClock.now - began > .milliseconds(950))
        #expect(connection.batches.count { $0.readableBytes > 0 } == 16)
        _ = try await exporter.drain(timeout: .zero)
    }
}
