// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// The bytes that a server lets an agent have in flight.
@Suite struct WindowTests {
    private static let size = ExportBatch.test(1).frame.readableBytes

    private func frames(_ sequences: ClosedRange<UInt64>) -> [ByteBuffer] {
        sequences.map { ExportBatch.test($0).frame }
    }

    /// Returns a machine on whose connection a server grants room for `batches` batches.
    private func machine(batches: Int) -> Machine {
        let machine = Machine.connected()
        _ = machine.welcomed(by: .test(7, grantedBytes: UInt64(batches * Self.size)))
        return machine
    }

    @Test("batches beyond the grant wait for acknowledgements, and follow in order")
    func grant() {
        let machine = machine(batches: 2)
        #expect(machine.enqueue(.test(1)) == .sendFrames(frames(1...1)))
        #expect(machine.enqueue(.test(2)) == .sendFrames(frames(2...2)))
        for sequence: UInt64 in 3...6 { #expect(machine.enqueue(.test(sequence)) == .nothing) }
        #expect(machine.acknowledged([2]).1 == .sendFrames(frames(3...3)))
        #expect(machine.acknowledged([1, 3]).1 == .sendFrames(frames(4...5)))
        #expect(machine.inFlightBytes == 2 * Self.size && machine.keptBatches == 3)
    }

    @Test("a larger grant sends more at once, a smaller one waits for acknowledgements")
    func changes() {
        let machine = machine(batches: 1)
        for sequence: UInt64 in 1...6 { _ = machine.enqueue(.test(sequence)) }
        #expect(machine.acknowledged([], grantedBytes: UInt64(3 * Self.size)).1 == .sendFrames(frames(2...3)))
        #expect(machine.acknowledged([]).1 == .nothing)
        #expect(machine.acknowledged([1, 2], grantedBytes: 1).1 == .nothing)
        #expect(machine.acknowledged([3]).1 == .sendFrames(frames(4...4)))
    }

    @Test("one batch may be in flight whatever is granted")
    func oneBatch() {
        let machine = machine(batches: 0)
        _ = machine.acknowledged([], grantedBytes: 1)
        #expect(machine.enqueue(.test(1)) == .sendFrames(frames(1...1)))
        #expect(machine.enqueue(.test(2)) == .nothing)
        #expect(machine.acknowledged([1]).1 == .sendFrames(frames(2...2)))
    }

    /// Full batches, of which the first grant takes some.
    private struct FullBatches {
        let frames: [ByteBuffer]
        let batches: [ExportBatch]
        /// The number of batches that the first grant takes.
        let fitting: Int

        init() throws {
            let flows = (0..<FlowBatchBuilder.maximumFlows).map { Flow.test($0) }
            batches = (1...6).map { ExportBatch.test($0, flows) }
            frames = batches.map(\.frame)
            fitting = ExportStateMachine.firstGrantedBytes / frames[0].readableBytes
            try #require((2...4).contains(fitting))
        }
    }

    @Test("until the server answers, 64 KiB are in flight at most")
    func firstGrant() throws {
        let full = try FullBatches()
        let machine = Machine()
        _ = machine.start()
        for batch in full.batches { _ = machine.enqueue(batch) }
        let (first, rest) = (full.frames.prefix(full.fitting), full.frames.dropFirst(full.fitting))
        #expect(machine.open() == .sendFrames(Array(first)))
        #expect(machine.grantedBytes == nil)
        #expect(machine.welcomed(by: .test(7, grantedBytes: 1 << 20)) == .sendFrames(Array(rest)))
        #expect(machine.grantedBytes == 1 << 20)
        // The next connection begins with the first grant again.
        _ = machine.connectionClosed()
        #expect(machine.grantedBytes == nil && machine.open() == .sendFrames(Array(first)))
    }

    @Test("a server that grants nothing, or sends no Welcome, sets no limit", arguments: [true, false])
    func unlimited(isWelcomed: Bool) throws {
        let full = try FullBatches()
        let machine = Machine.connected()
        for batch in full.batches { _ = machine.enqueue(batch) }
        let rest = Array(full.frames.dropFirst(full.fitting))
        #expect((isWelcomed ? machine.welcomed(by: .test(7)) : machine.answeredWithoutWelcome()) == .sendFrames(rest))
        #expect(machine.answeredWithoutWelcome() == .nothing)
        #expect(machine.grantedBytes == nil)
    }

    @Test("an agent uses no more of a grant than its own limit")
    func ownLimit() {
        let machine = Machine.connected(maximumInFlightBytes: 2 * Self.size)
        _ = machine.welcomed(by: .test(7, grantedBytes: 1 << 30))
        for sequence: UInt64 in 1...4 { _ = machine.enqueue(.test(sequence)) }
        #expect(machine.inFlightBytes == 2 * Self.size)
    }

    @Test("after GoAway, batches beyond the window wait for the next connection")
    func goAway() {
        let machine = machine(batches: 1)
        for sequence: UInt64 in 1...3 { _ = machine.enqueue(.test(sequence)) }
        #expect(machine.goAway() == .nothing)
        #expect(machine.acknowledged([1]).1 == .close)
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames(frames(2...3)))
    }

    @Test("a connection of an earlier process's batches is closed when none of them is left")
    func restored() throws {
        let full = try FullBatches()
        let (batches, fitting) = (full.batches, full.fitting)
        let machine = Machine()
        _ = machine.start()
        _ = machine.restore(batches.map { SpooledBatch(agentID: AgentID(bits: 7), batch: $0) })
        #expect(machine.open() == .sendFrames(batches.prefix(fitting).map(\.frame)))
        #expect(machine.welcomed(by: .test(7, grantedBytes: 1)) == .nothing)
        for batch in batches.prefix(fitting - 1) { #expect(machine.acknowledged([batch.sequence]).1 == .nothing) }
        for (batch, next) in zip(batches, batches.dropFirst()).dropFirst(fitting - 1) {
            #expect(machine.acknowledged([batch.sequence]).1 == .sendFrames([next.frame]))
        }
        #expect(machine.acknowledged([6]).1 == .close)
    }

    @Test("batches that wait for the window are merged, and those that were sent are not")
    func merging() throws {
        let machine = Machine.connected(mergeAboveBytes: 8 * Self.size)
        _ = machine.welcomed(by: .test(7, grantedBytes: UInt64(2 * Self.size)))
        for sequence: UInt64 in 1...50 { _ = machine.enqueue(.test(sequence)) }
        #expect(machine.merges > 0 && machine.keptBatches < 12)
        guard case .send(let sent) = machine.acknowledged([1, 2]).1 else {
            Issue.record("nothing is sent")
            return
        }
        #expect(try SentBatch(frame: try #require(sent.first).frame).reportedBytes > 2_000)
        #expect(machine.unacknowledged.bytes == 48 * 2_000)
    }

    @Test("merged batches wait until the log holds them, batches that were sent do not")
    func logBehind() {
        let machine = machine(batches: 1)
        for sequence: UInt64 in 1...2 { _ = machine.enqueue(.test(sequence)) }
        machine.logFellBehind()
        #expect(machine.acknowledged([1]).1 == .nothing)
        #expect(machine.enqueue(.test(3)) == .nothing)
        #expect(machine.logCaughtUp() == .sendFrames(frames(2...2)))
        _ = machine.connectionClosed()
        machine.logFellBehind()
        #expect(machine.open() == .sendFrames(frames(2...2)))
        #expect(machine.logCaughtUp() == .sendFrames(frames(3...3)))
    }

    /// 1,500 connections that all carry traffic, observed every 5 s.
    @Test("a spool fills as slowly with a server that acknowledges nothing as without one")
    func outage() {
        let granted = 64 << 10
        let halves = [0..<750, 750..<1_500].map { $0.map { Flow.test($0) } }
        let machines = [Machine(mergeAboveBytes: 128 << 10), .connected(mergeAboveBytes: 128 << 10)]
        _ = machines[0].start()
        _ = machines[1].welcomed(by: .test(7, grantedBytes: UInt64(granted)))
        var (largest, most) = (0, [0, 0])
        for sequence: UInt64 in 1...60 {
            let batch = ExportBatch.test(sequence, halves[Int(sequence % 2)], at: (sequence - 1) / 2 * 5_000)
            largest = max(largest, batch.frame.readableBytes)
            for (index, machine) in machines.enumerated() {
                _ = machine.enqueue(batch)
                most[index] = max(most[index], machine.keptFrameBytes)
            }
            #expect(most[1] <= most[0] + granted + largest)
        }
        #expect(machines.allSatisfy { $0.merges > 0 && $0.unacknowledged.bytes == 30 * 1_500 * 2_000 })
        #expect(machines[1].inFlightBytes > 0 && machines[1].inFlightBytes <= granted)
    }

    // MARK: - Over a connection

    private func exporter(
        to server: RecordingServer, _ configure: (inout FlowExporter.Configuration) -> Void = { _ in }
    ) -> FlowExporter {
        var configuration = FlowExporter.Configuration.test(port: server.port)
        configure(&configuration)
        let exporter = FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        exporter.start()
        return exporter
    }

    @Test("an agent sends what Welcome grants, and more as acknowledgements grant it")
    func overAConnection() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        let connection = try await server.connection(0)
        try await connection.say(.welcome(.test(7, grantedBytes: 1)))
        try await eventually("the grant has arrived") { exporter.statistics.grantedBytes == 1 }
        let batches = (1...4).map { exporter.export(.test($0)) }
        #expect(try await connection.batches(1) == [batches[0].frame.message])
        // An acknowledgement that matches nothing shows that the batches before it are processed.
        try await connection.say(.ack([99]))
        try await eventually("the message is processed") { exporter.statistics.unknownAcknowledgements == 1 }
        #expect(connection.batches.count == 1)
        try await connection.say(.ack([1]))
        _ = try await connection.batches(2)
        try await connection.say(.ack([], grantedBytes: 1 << 20))
        #expect(try await connection.batches(4) == batches.map(\.frame.message))
        #expect(exporter.statistics.grantedBytes == 1 << 20)
        try await connection.cut()
        try await eventually("the grant has ended") { exporter.statistics.grantedBytes == nil }
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("batches that are merged on an open connection are sent once the spool directory holds them")
    func mergingWithSpool() async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        let exporter = exporter(to: server) {
            $0.maximumUnacknowledgedBytes = 20_000
            $0.spoolDirectory = "\(folder.path)/a"
        }
        let connection = try await server.connection(0)
        try await connection.say(.welcome(.test(7, grantedBytes: 1)))
        try await eventually("the grant has arrived") { exporter.statistics.grantedBytes == 1 }
        for _ in 0..<400 { exporter.export(.test(1)) }
        try await eventually("batches are merged") { exporter.statistics.balance.mergedFlows > 0 }
        try await eventually("all batches are sent and acknowledged") {
            try await connection.say(.ack(connection.batches.map { try SentBatch(message: $0).sequence }))
            return exporter.statistics.unacknowledgedBatches == 0
        }
        #expect(try connection.batches.reduce(0) { $0 + (try SentBatch(message: $1)).reportedBytes } == 800_000)
        #expect(exporter.statistics.connections == 1 && exporter.statistics.balance.isBalanced)
        _ = try await exporter.drain(timeout: .zero)
        #expect(try await exporter.closeSpool())
        #expect(try folder.batches(in: "a").isEmpty)
    }

    @Test("a server that acknowledges or sends heartbeats without a Welcome sets no limit", arguments: [true, false])
    func withoutWelcome(acknowledges: Bool) async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server) { if !acknowledges { $0.welcomeTimeout = .zero } }
        let flows = (0..<FlowBatchBuilder.maximumFlows).map { Flow.test($0) }
        let batches = (1...4).map { _ in exporter.export(flows) }
        #expect(batches[0].frame.readableBytes * 4 > ExportStateMachine.firstGrantedBytes)
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(acknowledges ? .ack([1]) : .ack([]))
        _ = try await connection.batches(4)
        _ = try await exporter.drain(timeout: .zero)
    }
}
