// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// Servers that send `GoAway`, or that do not read.
@Suite struct DepartureTests {
    private func exporter(
        to server: RecordingServer, _ configure: (inout FlowExporter.Configuration) -> Void
    ) -> FlowExporter {
        var configuration = FlowExporter.Configuration.test(port: server.port)
        configure(&configuration)
        return FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test("repeated GoAway messages do not extend the departure timeout")
    func aServerThatAsksAgainAndAgainIsLeftOnceAndInTime() async throws {
        let server = try await RecordingServer.start()
        let departureTimeout = TimeAmount.milliseconds(500)
        let exporter = exporter(to: server) { $0.departureTimeout = departureTimeout }
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        exporter.start()
        let first = try await server.connection(0)
        let batches = try await first.batches(1)
        try await eventually("the agent leaves although its batch is not acknowledged") {
            try? await first.say(.goAway(reason: "the connection has reached its maximum age"))
            return server.connections.count > 1
        }
        try await first.closed()
        let second = try await server.connection(1)
        #expect(try await second.batches(1) == batches)
        // A timer left over from the first departure would fire before this.
        try await exporter.eventLoop.scheduleTask(in: departureTimeout) {}.futureResult.get()
        #expect(exporter.statistics.connections == 2 && exporter.statistics.isConnected)
        try await second.say(.ack([1]))
        try await eventually("the batch is acknowledged") { exporter.statistics.balance.acknowledged.flows == 1 }
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("heartbeats do not accumulate for a server that does not read")
    func aServerThatDoesNotReadFindsNoHeapOfSignsOfLife() async throws {
        let server = try RecordingServer()
        try await server.listen(isReading: false)
        let exporter = exporter(to: server) {
            $0.signOfLifeInterval = .hours(1)
            $0.maximumUnacknowledgedBytes = 1 << 30
        }
        // More than the kernel's socket buffers hold.
        let flows = (0..<FlowBatchBuilder.maximumFlows).map { Flow.test($0) }
        let count = 400
        for _ in 0..<count { exporter.export(FlowAmount(), of: .scrape) { .test($0, flows) } }
        exporter.start()
        try await eventually("the agent is connected") { exporter.statistics.isConnected }
        for _ in 0..<1_000 { try await exporter.eventLoop.submit { exporter.sendHeartbeat() }.get() }
        try await server.connections.first?.read()
        let connection = try await server.connection(0)
        _ = try await connection.batches(count)
        var sent = 0
        try await eventually("a heartbeat arrives") {
            try await exporter.eventLoop.submit { exporter.sendHeartbeat() }.get()
            sent += 1
            return connection.heartbeats > 0
        }
        #expect(connection.heartbeats <= sent && connection.batches.count == count)
        _ = try await exporter.drain(timeout: .zero)
    }
}
