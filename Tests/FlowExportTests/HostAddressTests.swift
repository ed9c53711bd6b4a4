// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// The host addresses that an agent sends to servers.
@Suite struct HostAddressTests {
    private static let (first, second) = (
        [IPAddress(v4: 0x0af4_0101)], [IPAddress(v4: 0x0af4_0101), IPAddress(bits: 0xfd << 120 | 1)]
    )

    private func exporter(to server: RecordingServer) -> FlowExporter {
        FlowExporter(
            configuration: .test(port: server.port),
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test("an agent without known host addresses sends none")
    func unknown() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        exporter.start()
        #expect(try await server.connection(0).hostAddresses == [nil])
        #expect(exporter.statistics.hostAddresses == nil)
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("Hello contains the current addresses, and an open connection gets changes only")
    func changes() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        exporter.tell(hostAddresses: [])
        exporter.start()
        let connection = try await server.connection(0)
        for addresses in [[], Self.first, Self.first, Self.second, Self.second, []] {
            exporter.tell(hostAddresses: addresses)
        }
        exporter.tell(hostAddresses: Self.second)
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        _ = try await connection.batches(1)
        #expect(try connection.hostAddresses == [[], Self.first, Self.second, [], Self.second])
        #expect(exporter.statistics.hostAddresses == 2)

        try await connection.cut()
        let next = try await server.connection(1)
        #expect(try next.hostAddresses == [Self.second])
        #expect(connection.isReadable && next.isReadable)
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("addresses that become known after Hello are sent on the open connection")
    func late() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        exporter.start()
        let connection = try await server.connection(0)
        exporter.tell(hostAddresses: Self.first)
        try await eventually("the addresses are reported") { try connection.hostAddresses == [nil, Self.first] }
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("after GoAway, changed addresses are sent on the next connection only")
    func departure() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        exporter.tell(hostAddresses: Self.first)
        exporter.export(FlowAmount(flows: 1, bytes: 2_000), of: .scrape) { .test($0) }
        exporter.start()
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(.goAway(reason: "maximum age"))
        // Messages are read in order: once this acknowledgement is counted, the `GoAway` has been read.
        try await connection.say(.ack([77]))
        try await eventually("the server's message is processed") { exporter.statistics.unknownAcknowledgements == 1 }
        exporter.tell(hostAddresses: Self.second)
        try await exporter.eventLoop.submit {}.get()
        try await connection.say(.ack([1]))
        let next = try await server.connection(1)
        #expect(try next.hostAddresses == [Self.second])
        try await connection.closed()
        #expect(try connection.hostAddresses == [Self.first])
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("a server that does not read gets only the newest addresses")
    func unreadChanges() async throws {
        let server = try RecordingServer()
        try await server.listen(isReading: false)
        let exporter = exporter(to: server)
        exporter.tell(hostAddresses: Self.first)
        exporter.start()
        try await eventually("a connection is open") { server.connections.count == 1 }
        try await server.connections[0].say(.welcome(.test(7)))
        // More than the kernel's socket buffers hold.
        let flows = (0..<FlowBatchBuilder.maximumFlows).map { Flow.test($0) }
        for _ in 0..<400 { exporter.export(FlowAmount(), of: .scrape) { .test($0, flows) } }
        for number in 1...1_000 { exporter.tell(hostAddresses: [IPAddress(v4: UInt32(number))]) }
        try await exporter.eventLoop.submit {}.get()
        let connection = server.connections[0]
        try await connection.read()
        _ = try await connection.batches(400)
        try await eventually("the latest addresses are reported") {
            try connection.hostAddresses.last == [IPAddress(v4: 1_000)]
        }
        #expect(try connection.hostAddresses.count <= 3)
        _ = try await exporter.drain(timeout: .zero)
    }
}
