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

    @Test("an agent that was asked to go stays until its batches are acknowledged")
    func stay() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server) { _ in }
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        exporter.start()
        let first = try await server.connection(0)
        _ = try await first.batches(1)
        for _ in 0..<3 {
            try await first.say(.goAway(reason: "the connection has reached its maximum age"))
            try await first.say(.ack([]))
        }
        // An acknowledgement that matches nothing shows that all messages before it are processed.
        try await first.say(.ack([9]))
        try await eventually("the messages are processed") { exporter.statistics.unknownAcknowledgements == 1 }
        #expect(server.connections.count == 1 && exporter.statistics.isConnected)
        try await first.say(.ack([1]))
        try await first.closed()
        _ = try await server.connection(1)
        #expect(exporter.statistics.balance.acknowledged.flows == 1)
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("an agent that is still owed acknowledgements a while after GoAway sends new batches again")
    func stayForLong() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server) { $0.departureTimeout = .milliseconds(50) }
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        exporter.start()
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(.goAway(reason: "the connection has reached its maximum age"))
        // An acknowledgement that matches nothing shows that the message before it is processed.
        try await connection.say(.ack([9]))
        try await eventually("GoAway is processed") { exporter.statistics.unknownAcknowledgements == 1 }
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        _ = try await connection.batches(2)
        try await connection.say(.ack([1, 2]))
        try await eventually("both are acknowledged") { exporter.statistics.unacknowledgedBatches == 0 }
        try await connection.say(.goAway(reason: "the connection has reached its maximum age"))
        try await connection.closed()
        #expect(exporter.statistics.balance.acknowledged.flows == 2)
        _ = try await exporter.drain(timeout: .zero)
    }

    /// Returns the answer to `Hello` of a server process.
    private func welcome(_ id: UInt128, _ server: RecordingServer) -> Welcome {
        Welcome(serverID: id, address: IPAddress(v4: 0x7f00_0001), port: UInt16(server.port))
    }

    @Test("after a break, an agent returns to the server that owes it acknowledgements")
    func returnToTheHolder() async throws {
        let servers = [try await RecordingServer.start(), try await RecordingServer.start()]
        let addresses = try servers.map { try SocketAddress(ipAddress: "127.0.0.1", port: $0.port) }
        let exporter = exporter(to: servers[0]) { $0.resolve = { _, _ in addresses } }
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        exporter.start()
        try await eventually("the agent is connected") { servers.contains { !$0.connections.isEmpty } }
        let (holder, other) = servers[0].connections.isEmpty ? (servers[1], servers[0]) : (servers[0], servers[1])
        for number in 0..<8 {
            let connection = try await holder.connection(number)
            _ = try await connection.batches(1)
            try await connection.say(.welcome(welcome(7, holder)))
            try await connection.cut()
        }
        let last = try await holder.connection(8)
        #expect(other.connections.isEmpty && exporter.statistics.doubtfulBatches == 0)

        // Another process at the same address has none of the batches.
        try await last.say(.welcome(welcome(8, holder)))
        try await last.say(.ack([1]))
        try await eventually("the batch is acknowledged") { exporter.statistics.balance.acknowledged.flows == 1 }
        #expect(exporter.statistics.doubtfulBatches == 1)

        // Nothing is owed: the next connection is to the other server.
        try await last.cut()
        _ = try await other.connection(0)
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
        try await eventually("the agent is connected") {
            exporter.statistics.isConnected && server.connections.count == 1
        }
        // All batches are written once the server grants so much.
        let grant: UInt64 = 1 << 30
        try await server.connections[0].say(.welcome(.test(7, grantedBytes: grant)))
        try await eventually("the agent has the grant") { exporter.statistics.grantedBytes == grant }
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
