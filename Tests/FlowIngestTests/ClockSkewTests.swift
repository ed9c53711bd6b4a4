// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import FlowExport
@testable import FlowIngest

/// Agents whose clocks differ from the server's.
@Suite struct ClockSkewTests {
    /// Clocks that a test sets.
    private final class Clock: Sendable {
        private let reading: Mutex<ClockReading>

        init(_ wall: Int64, boot: Int64) {
            reading = Mutex(ClockReading(wallMilliseconds: wall, bootMilliseconds: boot))
        }

        var now: ClockReading { reading.withLock { $0 } }

        func pass(_ milliseconds: Int64) {
            reading.withLock {
                $0.wallMilliseconds += milliseconds
                $0.bootMilliseconds += milliseconds
            }
        }

        func set(by milliseconds: Int64) { reading.withLock { $0.wallMilliseconds += milliseconds } }
    }

    private static let noon: Int64 = 1_772_366_400_000

    private func server(_ clock: Clock, _ lines: WarningLog.Lines = .init()) async throws -> TestIngest {
        let logger = Logger(label: "test") { _ in WarningLog(lines) }
        return try await TestIngest.start(logger: logger) { $0.clock = { clock.now } }
    }

    /// Returns a frame that is sent at a time of the node's clock.
    private func frame(_ frame: ByteBuffer, at milliseconds: Int64, set: Int64 = 0) throws -> ByteBuffer {
        let time = try #require(SendTime(milliseconds: milliseconds, clockSetMilliseconds: set))
        return time.stamp(frame).reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    private func batch(_ sequence: UInt64, observedAt: Int64) -> ByteBuffer {
        var builder = FlowBatchBuilder(family: .ipv4)
        builder.append(.test(1))
        return builder.takeFrame(sequence: sequence, observedAtMilliseconds: UInt64(observedAt))
    }

    @Test(
        "what a node's clock is behind or ahead is taken out of observation times, reported and logged once",
        arguments: [-90_000, 300_000] as [Int64])
    func correction(_ lead: Int64) async throws {
        let (clock, lines) = (Clock(Self.noon, boot: 1_000_000), WarningLog.Lines())
        let ingest = try await server(clock, lines)
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(frame(.hello(node: "node-a"), at: Self.noon + lead))
        try await agent.send(frame(batch(1, observedAt: Self.noon + lead - 2_000), at: Self.noon + lead))
        let first = try await ingest.deliveries(1)
        #expect(first.map(\.observedAtMilliseconds) == [UInt64(Self.noon - 2_000)])
        #expect(lines.all.withLock { $0 } == [])
        for minute: Int64 in 1...3 {
            clock.pass(60_000)
            try await agent.send(frame(AgentMessage.signOfLife, at: Self.noon + lead + minute * 60_000))
        }
        // An observation in the node's future is one of the present.
        let end = Self.noon + 180_000
        try await agent.send(frame(batch(2, observedAt: end + lead + 5_000), at: end + lead))
        let both = try await ingest.deliveries(2)
        #expect(both[1].observedAtMilliseconds == UInt64(end))
        #expect(ingest.server.agents(atMost: 1).map(\.clockLead) == [.milliseconds(lead)])
        let statistics = ingest.server.statistics
        #expect(statistics.skewedAgents == 1 && statistics.greatestClockSkew == .milliseconds(abs(lead)))
        #expect(statistics.clockLeads == ["node-a": .milliseconds(lead)])
        let words = lead < 0 ? "90 s behind" : "300 s ahead"
        #expect(
            lines.all.withLock { $0 } == [
                "an agent's clock differs; its observation times are corrected clock=\(words) node=node-a"
            ])
    }

    @Test("an agent that does not say when it sends is as before")
    func oldAgent() async throws {
        let clock = Clock(Self.noon, boot: 1_000_000)
        let ingest = try await server(clock)
        let agent = try await TestAgent.connect(to: ingest.address, node: "node-a")
        try await agent.send(AgentMessage.signOfLife, batch(1, observedAt: Self.noon - 90_000))
        let delivered = try await ingest.deliveries(1)
        #expect(delivered.map(\.observedAtMilliseconds) == [UInt64(Self.noon - 90_000)])
        #expect(ingest.server.agents(atMost: 1).map(\.clockLead) == [nil])
        #expect(ingest.server.statistics.skewedAgents == 0 && ingest.server.statistics.clockLeads == [:])
    }

    @Test("messages that wait while the server does not read are not taken for a clock that is behind")
    func backlog() async throws {
        let (clock, lines) = (Clock(Self.noon, boot: 1_000_000), WarningLog.Lines())
        let ingest = try await server(clock, lines)
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(frame(.hello(node: "node-a"), at: Self.noon))
        try await ingest.connectedAgents(1)
        ingest.server.setReading(false)
        for minute: Int64 in 0..<15 {
            let now = Self.noon + minute * 60_000
            try await agent.send(
                frame(AgentMessage.signOfLife, at: now),
                frame(batch(UInt64(minute + 1), observedAt: now - 1_000), at: now))
            // The pending read takes the first messages off the socket before the clock advances.
            if minute == 0 { try await ingest.turnLoops() }
        }
        clock.pass(15 * 60_000)
        ingest.server.setReading(true)
        let delivered = try await ingest.deliveries(15)
        let expected = (0..<15).map { UInt64(Self.noon - 1_000 + $0 * 60_000) }
        #expect(delivered.map(\.observedAtMilliseconds) == expected)
        #expect(ingest.server.statistics.skewedAgents == 0)
        #expect(lines.all.withLock { $0 } == [])
    }

    @Test("a Hello that waits until the server reads says nothing of the clock")
    func waitingHello() async throws {
        let clock = Clock(Self.noon, boot: 1_000_000)
        let ingest = try await server(clock)
        ingest.server.setReading(false)
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(
            frame(.hello(node: "node-a"), at: Self.noon), frame(batch(1, observedAt: Self.noon - 1_000), at: Self.noon))
        try await eventually("the connection is accepted") { ingest.server.statistics.connections == 1 }
        // The connection asks for its first read after it is counted.
        try await ingest.turnLoops()
        clock.pass(200_000)
        ingest.server.setReading(true)
        let delivered = try await ingest.deliveries(1)
        #expect(delivered.map(\.observedAtMilliseconds) == [UInt64(Self.noon - 1_000)])
        #expect(ingest.server.agents(atMost: 1).map(\.clockLead) == [nil])
    }

    @Test("an exporter whose clock is set while it is connected: every batch gets the server's time")
    func exporterSteps() async throws {
        let (serverClock, nodeClock) = (Clock(Self.noon, boot: 1_000_000), Clock(Self.noon - 90_000, boot: 77_000))
        let ingest = try await server(serverClock)
        let agent = ExporterUnderTest(to: ingest.address) { $0.clock = { nodeClock.now } }
        try await ingest.connectedAgents(1)
        for (number, step) in [(1, 90_000), (2, -300_000), (3, 0)] {
            export(number, observedAt: nodeClock.now.wallMilliseconds, with: agent)
            let delivered = try await ingest.deliveries(number)
            #expect(delivered.last?.observedAtMilliseconds == UInt64(Self.noon + Int64(number - 1) * 10_000))
            nodeClock.set(by: Int64(step))
            for clock in [serverClock, nodeClock] { clock.pass(10_000) }
        }
        try await agent.stop()
    }

    @Test("a batch that is sent after the clock was set gets the server's time, of this process and of an earlier one")
    func keptBatches() async throws {
        let (serverClock, nodeClock) = (Clock(Self.noon, boot: 1_000_000), Clock(Self.noon - 90_000, boot: 77_000))
        let ingest = try await server(serverClock)
        let agent = ExporterUnderTest(to: ingest.address, isStarted: false) { $0.clock = { nodeClock.now } }
        export(1, observedAt: Self.noon - 90_000, with: agent)
        for clock in [serverClock, nodeClock] { clock.pass(10_000) }
        nodeClock.set(by: 500_000)
        // Of an earlier process it is not known how the clock was set when the batch was observed.
        let flow = Flow.test(2)
        let observedAt = nodeClock.now.wallMilliseconds - 5_000
        agent.exporter.enqueue(
            ExportBatch(
                sequence: 2, observedAtMilliseconds: UInt64(observedAt), frame: batch(2, observedAt: observedAt),
                amount: FlowAmount(flows: 1, bytes: flow.bytes)),
            FlowAmount(flows: 1, bytes: flow.bytes), of: .scrape)
        agent.exporter.start()
        let delivered = try await ingest.deliveries(2)
        #expect(delivered.map(\.observedAtMilliseconds) == [UInt64(Self.noon), UInt64(Self.noon + 5_000)])
        try await agent.stop()
    }

    /// Exports a batch of one flow.
    private func export(_ number: Int, observedAt: Int64, with agent: ExporterUnderTest) {
        let amount = FlowAmount(flows: 1, bytes: Flow.test(number).bytes)
        agent.exporter.export(amount, of: .scrape) { sequence in
            ExportBatch(
                sequence: sequence, observedAtMilliseconds: UInt64(observedAt),
                frame: batch(sequence, observedAt: observedAt), amount: amount)
        }
    }

    @Test("the list of skewed clocks has each node once, the greatest differences first, and 100 nodes at most")
    func bound() {
        func agent(_ node: String, _ lead: Duration?) -> AgentSummary {
            let hello = Hello(nodeName: node, agentID: .random(), softwareVersion: "test")
            var summary = AgentSummary(
                ConnectedAgent(hello: hello, remoteAddress: "192.0.2.1"), remoteAddress: "192.0.2.1")
            summary.clockLead = lead
            return summary
        }
        var statistics = IngestStatistics()
        statistics.setClocks(
            of: (1...300).map { agent("node-\($0)", .seconds($0.isMultiple(of: 2) ? $0 : -$0)) } + [
                agent("node-300", .seconds(5)), agent("node-0", .milliseconds(1_000)), agent("new", nil),
            ])
        #expect(statistics.skewedAgents == 300)
        #expect(statistics.greatestClockSkew == .seconds(300))
        #expect(statistics.clockLeads.count == 100)
        #expect(statistics.clockLeads["node-300"] == .seconds(300))
        #expect(statistics.clockLeads["node-201"] == .seconds(-201))
        #expect(statistics.clockLeads["node-200"] == nil)
    }
}
