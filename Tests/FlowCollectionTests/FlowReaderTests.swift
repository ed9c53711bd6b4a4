// SPDX-License-Identifier: Apache-2.0

import AgentCore
import FlowCollection
import FlowExport
import FlowModel
import Logging
import NIOCore
import NIOPosix
import Probes
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
private let power = SelfCheck.Condition("power")

/// The services that drive a reader, around a reader whose flows are listed by a test.
private struct Rig {
    let exporter: FlowExporter
    let events: ListedEvents
    let eventService: EventService
    let collection: CollectionService
    let selfCheck: SelfCheck

    init(
        exporter: FlowExporter, interval: Duration = .milliseconds(10), ends: [Flow] = [], late: [Flow] = [],
        maximumWait: Duration = .seconds(36_000), collect: sending @escaping ListedReader.Collect
    ) {
        self.exporter = exporter
        let batches = EventBatches(exporter: exporter)
        events = ListedEvents(ends, late: late, problems: [power: "off"]) { batches.append($0) }
        eventService = EventService(events: events, batches: batches, logger: quiet)
        selfCheck = SelfCheck(conditions: [power, .counters], uptimeWait: .zero, neverCounted: "none", logger: quiet)
        collection = CollectionService(
            schedule: CollectionSchedule(interval: interval, nodeName: "node-a"),
            reader: ListedReader(events: events, collect: collect), exporter: exporter, selfCheck: selfCheck,
            maximumWait: maximumWait, logger: quiet)
    }

    /// Runs the services in the agent's order, shuts them down once `body` has returned, and waits for their end.
    func run(_ body: () async throws -> Void) async throws {
        let drain = DrainService(exporter, timeout: .milliseconds(1), logger: quiet)
        let group = ServiceGroup(services: [drain, eventService, collection], logger: quiet)
        async let running: Void = group.run()
        try await body()
        await group.triggerGracefulShutdown()
        try await running
    }
}

@Suite struct FlowReaderTests {
    @Test("the reader's flows and ended connections are collected, drained on stop, and counted in the metrics")
    func listedFlows() async throws {
        let collections = Mutex(0)
        let rig = Rig(
            exporter: TestExporter.make(), ends: (0..<5).map { TestFlow.make(100 + $0, bytes: 10) },
            late: (0..<3).map { TestFlow.make(200 + $0, bytes: 1) }
        ) { isLast, shouldContinue, body in
            let number = collections.withLock { collections in
                collections += 1
                return collections
            }
            var report = CollectionReport()
            report.entries = 4
            report.ignored[.loopback] = 1
            guard shouldContinue() else { return report }
            if number == 1 { for port in 1...2 { body(TestFlow.make(UInt16(port), bytes: 1_000)) } }
            if isLast { body(TestFlow.make(3, bytes: 5_000)) }
            return report
        }
        try await rig.run {
            try await eventually("two collections have run and all ended connections are read") {
                rig.collection.statistics.collections >= 2 && rig.events.statistics.events >= 5
            }
        }
        let numbers = AgentNumbers(
            collection: rig.collection, events: rig.eventService, reader: rig.events,
            export: rig.exporter.statistics, selfCheck: rig.selfCheck)
        #expect(numbers.export.balance.collected[.scrape] == FlowAmount(flows: 3, bytes: 7_000))
        #expect(numbers.export.balance.collected[.destroy] == FlowAmount(flows: 8, bytes: 53))
        #expect(numbers.export.balance.unacknowledged == FlowAmount(flows: 11, bytes: 7_053))
        let count = Double(collections.withLock { $0 })
        let samples = MetricsText(MetricsPage(numbers).text).samples
        for (name, value) in [
            ("collections_total", count), ("ignored_flows_total{reason=\"loopback\"}", count),
            ("collected_bytes_total{kind=\"scrape\"}", 7_000), ("collected_bytes_total{kind=\"destroy\"}", 53),
            ("collected_flows_total{kind=\"destroy\"}", 8), ("events_total", 8), ("listed_total", 8),
            ("self_check{check=\"power\"}", 0), ("self_check{check=\"counters\"}", 1), ("conntrack_entries", 4),
        ] { #expect(samples["kubenetmon_agent_" + name] == value, "\(name)") }
    }

    @Test("the error of a collection is reported until one succeeds, and the flows that it had read are kept")
    func failedCollection() async throws {
        let fails = Mutex(true)
        let rig = Rig(exporter: TestExporter.make()) { isLast, _, body in
            var report = CollectionReport()
            guard fails.withLock({ $0 }) else { return report }
            body(TestFlow.make(1, bytes: 1))
            report.error = TestEnvironmentError("the dump was interrupted")
            return report
        }
        try await rig.run {
            try await eventually("a collection has failed") { rig.collection.statistics.failedCollections > 0 }
            #expect(rig.collection.statistics.lastError?.contains("the dump was interrupted") == true)
            fails.withLock { $0 = false }
            try await eventually("a collection has succeeded") { rig.collection.statistics.lastSuccess > 0 }
        }
        let statistics = rig.collection.statistics
        #expect(statistics.lastError == nil && statistics.failedCollections < statistics.collections)
        #expect(rig.exporter.statistics.balance.collected[.scrape]?.flows == statistics.failedCollections)
    }

    @Test("no collection begins without room for its flows, although there is room for ended connections")
    func noRoom() async throws {
        let exporter = TestExporter.make(maximumUnacknowledgedBytes: 4_096)
        var batcher = FlowBatcher(exporter: exporter, source: .scrape)
        var minute: UInt64 = 1
        // One batch a minute: those of a minute would be merged.
        while exporter.hasRoom {
            batcher.append(TestFlow.make(1, bytes: 1), observedAtMilliseconds: minute * 60_000)
            batcher.flush()
            minute += 1
        }
        #expect(exporter.hasRoomForEvents)
        let rig = Rig(exporter: exporter) { isLast, _, _ in
            #expect(isLast)
            return CollectionReport()
        }
        try await rig.run {
            try await eventually("collections are due") { rig.collection.statistics.deferredCollections > 1 }
        }
    }

    /// A server that accepts connections and sends nothing, and a rig whose collections wait for it.
    private struct Lag {
        let server: any Channel
        let connections = Mutexed<[any Channel]>([])
        let rig: Rig
        /// The collections that have begun to wait, and those that have ended their waits.
        let begun = Mutexed(0)
        let ended = Mutexed(0)

        init(maximumWait: Duration) async throws {
            let connections = connections
            server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .childChannelInitializer { channel in
                    connections.change { $0.append(channel) }
                    return channel.eventLoop.makeSucceededVoidFuture()
                }
                .bind(host: "127.0.0.1", port: 0).get()
            let exporter = TestExporter.make(
                port: try #require(server.localAddress?.port), maximumUnacknowledgedBytes: 256 << 10)
            let (begun, ended) = (begun, ended)
            rig = Rig(exporter: exporter, maximumWait: maximumWait) { _, shouldContinue, body in
                if exporter.isServerBehind {
                    begun.change { $0 += 1 }
                    #expect(shouldContinue())
                    ended.change { $0 += 1 }
                    // The rest of the collection does not wait any longer.
                    #expect(shouldContinue())
                } else if exporter.statistics.isConnected && exporter.statistics.unacknowledgedBytes == 0 {
                    // More than an eighth of the limit, so that the server is behind, and less than three quarters, so
                    // that there is room.
                    for port in 1...UInt16(4_000) { body(TestFlow.make(port, bytes: UInt64(port))) }
                }
                return CollectionReport()
            }
            exporter.start()
        }
    }

    @Test("a collection waits for a lagging server at most for its limit, after which it goes on")
    func laggingServer() async throws {
        let lag = try await Lag(maximumWait: .milliseconds(10))
        try await lag.rig.run {
            try await eventually("a collection has waited") { lag.ended.value > 0 }
            #expect(lag.rig.exporter.isServerBehind && lag.rig.exporter.hasRoom)
        }
        try await lag.server.close()
    }

    @Test("a collection goes on as soon as the server is no longer behind")
    func caughtUpServer() async throws {
        let lag = try await Lag(maximumWait: .seconds(36_000))
        try await lag.rig.run {
            try await eventually("a collection waits") { lag.begun.value == 1 }
            #expect(lag.ended.value == 0)
            // Without a connection, no server is behind.
            try await lag.server.close()
            for connection in lag.connections.value { try await connection.close() }
            try await eventually("the collection goes on") { lag.ended.value == 1 }
        }
        #expect(!lag.rig.exporter.isServerBehind && lag.begun.value == 1)
    }
}

/// A value behind a lock, shared by reference.
private final class Mutexed<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>

    init(_ value: Value) { storage = Mutex(value) }

    var value: Value { storage.withLock { $0 } }

    func change(_ body: (inout sending Value) -> Void) { storage.withLock { body(&$0) } }
}
