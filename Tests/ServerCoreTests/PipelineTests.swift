// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import FlowModel
import FlowWire
import Foundation
import KubernetesAPI
import KubernetesTestKit
import Labeling
import Logging
import Migrations
import NIOCore
import NIOPosix
import ServerCore
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// An agent of node-a that sends batches of flows from a pod of tools/lab-inventory.yaml.
private struct Agent {
    static let flowsPerBatch = 1_000
    let channel: any Channel

    init(port: Int) async throws {
        channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connect(host: "127.0.0.1", port: port).get()
        try await channel.writeAndFlush(Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test").frame())
    }

    func send(_ sequence: UInt32) async throws {
        var builder = FlowBatchBuilder(family: .ipv4)
        for flow in 0..<UInt32(Self.flowsPerBatch) {
            let tuple = FlowTuple(
                source: IPAddress(v4: 0x0af4_0114), destination: IPAddress(v4: 0x2d00_0000 | sequence),
                sourcePort: UInt16(10_000 + flow), destinationPort: 443)
            builder.append(
                Flow(
                    transport: .tcp, original: tuple, reply: tuple.mirrored,
                    originalCounters: FlowCounters(packets: 1, bytes: 1_000),
                    replyCounters: FlowCounters(packets: 1, bytes: 2_000)))
        }
        try await channel.writeAndFlush(
            builder.takeFrame(
                sequence: UInt64(sequence), observedAtMilliseconds: UInt64(Date.now.timeIntervalSince1970 * 1_000)))
    }
}

/// The pipeline with its parts as the server puts them together.
@Suite struct PipelineTests {
    /// Runs a pipeline, and returns once it has ended after `body` and a shutdown.
    private func run(
        _ keys: String, cluster: ClusterWatch? = nil, hasCredentials: Bool = false,
        _ body: (_ pipeline: Pipeline, _ port: Int) async throws -> Void
    ) async throws -> Pipeline {
        let port = try freePort()
        let file = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString).yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        try """
        environment: testing
        cloud: aws
        region: eu-central-1
        cluster: main
        port: \(port)
        cloud_ranges: {enabled: false}
        inventory_file: \(Repository.file("tools/lab-inventory.yaml").path)
        \(hasCredentials ? "" : "clickhouse_credentials_directory: /nowhere")
        \(keys)
        """.write(to: file, atomically: true, encoding: .utf8)
        let configuration = try ConfigurationFile(path: file.path).read().value
        let index = ClusterIndex(site: configuration.site)
        let inventory = try configuration.inventory()
        index.add(inventory)
        let labeler = Labeler(index: index, configuration: configuration.labeling)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let pipeline = Pipeline(
            configuration: configuration, labeler: labeler, cluster: cluster,
            ranges: CloudRangeService(
                configuration.cloudRanges(with: inventory), labeler: labeler, site: configuration.site, logger: quiet),
            access: configuration.agents.configuration(cluster: nil, logger: quiet), group: group, logger: quiet,
            schemaInterval: .milliseconds(20))
        let services: [any Service] = (cluster.map { [$0] } ?? []) + [pipeline]
        let running = ServiceGroup(services: services, logger: quiet)
        async let end: Void = running.run()
        try await body(pipeline, port)
        await running.triggerGracefulShutdown()
        try await end
        try await group.shutdownGracefully()
        return pipeline
    }

    private func waitUntilReady(_ pipeline: Pipeline) async throws {
        try await eventually("the pipeline is ready") { pipeline.readiness.allSatisfy { $0.problem == nil } }
    }

    /// Waits until the pipeline is ready, and returns an agent whose batch it has stored.
    private func storeBatch(_ pipeline: Pipeline, _ port: Int) async throws -> Agent {
        try await waitUntilReady(pipeline)
        let agent = try await Agent(port: port)
        try await agent.send(1)
        try await eventually("the flows are stored") {
            pipeline.numbers().blocks.stored.flows == Agent.flowsPerBatch
        }
        return agent
    }

    @Test("a server that has stopped is not ready")
    func stopped() async throws {
        let pipeline = try await run("clickhouse_enabled: false") { pipeline, _ in try await waitUntilReady(pipeline) }
        #expect(pipeline.readiness.first?.problem == "the server is shutting down")
    }

    @Test("agents are not accepted before the cluster is listed")
    func unlistedCluster() async throws {
        let server = try await APIServerFixture.start()
        server.inject(.silence, into: [.streamingList, .list], times: 1_000)
        let watch = ClusterWatch(
            KubernetesSettings(isEnabled: true, watchesReplicaSets: true),
            cluster: ClusterConfiguration(origin: "test", server: server.url), podLabels: PodLabelMapping(),
            index: ClusterIndex(site: Site(environment: "test", cloud: "aws", region: "eu-central-1", cluster: "main")),
            logger: quiet)
        _ = try await run("clickhouse_enabled: false", cluster: watch) { pipeline, port in
            // Otherwise the server could be about to open the port.
            try await eventually("both the watch and the server wait") { watch.changes.waiters == 2 }
            #expect(pipeline.readiness.first?.problem == "the port for agents is not open yet")
            await #expect(throws: (any Error).self) { _ = try await Agent(port: port) }
        }
    }

    @Test("blocks that are being filled are stored at the end")
    func openBlocks() async throws {
        let database = try await TestDatabase.make()
        let keys = """
            clickhouse_endpoint: \(database.url)
            clickhouse_database: \(database.name)
            clickhouse_batch_max_age: 1h
            shutdown_timeout: 1h
            """
        let pipeline = try await run(keys) { pipeline, port in
            try await waitUntilReady(pipeline)
            let agent = try await Agent(port: port)
            try await agent.send(1)
            try await eventually("the flows are in a block") {
                pipeline.numbers().flows.gathering.flows == Agent.flowsPerBatch
            }
        }
        #expect(pipeline.numbers().blocks.stored.flows == Agent.flowsPerBatch)
        #expect(try await database.query("SELECT sum(bytes) FROM network_flows_0") == "3000000\n")
    }

    @Test("a server makes its tables when it starts, if it may")
    func automaticMigration() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let keys = """
            clickhouse_endpoint: \(database.url)
            clickhouse_database: \(database.name)
            clickhouse_migrate: auto
            clickhouse_schema: columns,window,rollup
            clickhouse_batch_max_age: 10ms
            shutdown_timeout: 1h
            """
        _ = try await run(keys) { pipeline, port in
            _ = try await storeBatch(pipeline, port)
        }
        #expect(try await database.query("SELECT sum(bytes) FROM network_flows_hourly") == "3000000\n")
    }

    @Test("a server whose user may not change the schema starts nevertheless")
    func rejectedMigration() async throws {
        let clickHouse = try await ClickHouseProcess.start(
            roles: ["writer": ["GRANT INSERT, SELECT ON default.network_flows_0", "GRANT SELECT ON system.*"]])
        let owner = ClickHouseClient.Configuration(endpoints: [clickHouse.url])
        let migration = SchemaMigration(owner, table: "network_flows_0", cluster: nil, parts: [])
        for step in try migration.plan().steps { try migration.apply(step) }
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try "writer_user".write(to: folder.appending(path: "username"), atomically: true, encoding: .utf8)
        let keys = """
            clickhouse_endpoint: \(clickHouse.url)
            clickhouse_credentials_directory: \(folder.path)
            clickhouse_migrate: auto
            clickhouse_batch_max_age: 10ms
            shutdown_timeout: 1h
            """
        _ = try await run(keys, hasCredentials: true) { pipeline, port in
            _ = try await storeBatch(pipeline, port)
        }
        #expect(try !migration.plan().steps.contains { $0.name == "001_network_flows_0.sql" })
        try await clickHouse.stop()
    }

    @Test("a server fills columns that a migration adds while it runs")
    func addedColumns() async throws {
        let database = try await TestDatabase.make()
        let keys = """
            clickhouse_endpoint: \(database.url)
            clickhouse_database: \(database.name)
            clickhouse_batch_max_age: 10ms
            shutdown_timeout: 1h
            """
        _ = try await run(keys) { pipeline, port in
            let agent = try await storeBatch(pipeline, port)
            let owner = ClickHouseClient.Configuration(
                endpoints: [database.url], database: database.name,
                credentials: .fixed(user: database.user, password: database.password))
            let migration = SchemaMigration(owner, table: "network_flows_0", cluster: nil, parts: [.columns])
            for step in try migration.plan().steps { try migration.apply(step) }
            var sequence: UInt32 = 1
            try await eventually("a row has the opener") {
                sequence += 1
                try await agent.send(sequence)
                return try await database.query("SELECT count() FROM network_flows_0 WHERE opened = 'local'") != "0\n"
            }
        }
    }

    @Test("agents are not read while the memory for blocks is full")
    func backpressure() async throws {
        let database = try await TestDatabase.make()
        let gate = Mutex(false)
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            while request.parameter("query")?.hasPrefix("INSERT") == true, !gate.withLock({ $0 }) {
                Thread.sleep(forTimeInterval: 0.02)
            }
            return .none
        }
        let keys = """
            clickhouse_endpoint: \(proxy.url)
            clickhouse_database: \(database.name)
            clickhouse_max_queued_bytes: 1048576
            clickhouse_batch_size: 2000
            clickhouse_timeout: 1h
            """
        _ = try await run(keys) { pipeline, port in
            try await waitUntilReady(pipeline)
            let agent = try await Agent(port: port)
            let sending = Task { for sequence in 1...60 { try await agent.send(UInt32(sequence)) } }
            try await eventually("backpressure begins") { pipeline.numbers().memory.pressureTime > .zero }
            let late = try await Agent(port: port)
            try await eventually("the late agent is connected") { pipeline.numbers().ingest.openConnections == 2 }
            let batches = pipeline.numbers().ingest.batches
            #expect(batches < 60)
            // A loop that reads would have read both by then.
            for _ in 0..<1_000 { await Task.yield() }
            #expect(pipeline.numbers().ingest.connectedAgents == 1)
            gate.withLock { $0 = true }
            try await sending.value
            try await eventually("both are read") {
                pipeline.numbers().ingest.connectedAgents == 2 && pipeline.numbers().ingest.batches == 60
            }
            try await late.channel.close()
        }
        #expect(try await database.query("SELECT sum(bytes) FROM network_flows_0") == "180000000\n")
    }
}
