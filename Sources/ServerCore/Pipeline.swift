// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import FlowBlocks
package import FlowIngest
import FlowModel
import FoundationEssentials
import HTTPClient
import KubernetesAPI
package import Labeling
package import Logging
import NIOCore
package import NIOPosix
package import Probes
import Retry
import ServiceLifecycle
import Sockets
import Synchronization
import Threads

/// The server's work from the agents' sockets to ClickHouse: waits for the table, then listens.
package final class Pipeline: Service, CustomStringConvertible {
    package let description = "pipeline"

    private let configuration: ServerConfiguration
    private let labeler: Labeler
    private let cluster: ClusterWatch?
    private let ranges: CloudRangeService
    private let access: IngestServer.Configuration
    private let group: MultiThreadedEventLoopGroup
    private let logger: Logger
    private let stage: Mutex<Stage>
    private let ledger: BlockLedger
    /// Settles the blocks of servers that are gone; nil until the table is available, and if it does not allow that.
    private let settlement = Mutex<DoubtSettlement?>(nil)
    /// The top talkers; nil if the status page is off.
    private let talkers: TopTalkers?
    private let begun = ContinuousClock.now
    /// The time between two looks at the table's columns.
    private let schemaInterval: Duration

    /// The table, and whether the blocks of other servers can be settled.
    private struct Table {
        let schema: TableSchema
        let settlesBlocks: Bool
    }

    /// The memory of a block for each byte of the frames whose flows it has.
    private static let memoryPerWireByte = 4

    private enum Stage {
        /// The table is not available yet, for this reason.
        case waiting(String)
        /// The table is available; the cluster has not been listed yet, or the cloud ranges have not been tried.
        case preparing
        /// Without an inserter, nothing is stored.
        case running(IngestServer, Inserter?)
        case stopping(IngestServer, Inserter?)
    }

    package init(
        configuration: ServerConfiguration, labeler: Labeler, cluster: ClusterWatch?, ranges: CloudRangeService,
        access: IngestServer.Configuration, group: MultiThreadedEventLoopGroup, logger: Logger,
        schemaInterval: Duration = .seconds(60)
    ) {
        self.schemaInterval = schemaInterval
        self.configuration = configuration
        self.access = access
        self.group = group
        self.logger = logger
        self.labeler = labeler
        self.cluster = cluster
        self.ranges = ranges
        ledger = BlockLedger(maximumBytes: configuration.maximumQueuedBytes)
        talkers = configuration.statusPage == .off ? nil : TopTalkers()
        stage = Mutex(.waiting("has not been queried yet"))
    }

    // MARK: - State for probes, metrics and the status page

    package var readiness: [HealthCheck] {
        let own =
            switch stage.withLock({ $0 }) {
            case .waiting(let reason): HealthCheck("clickhouse", problem: reason)
            case .preparing: HealthCheck("agents", problem: "the port for agents is not open yet")
            case .running(_, let inserter): HealthCheck("clickhouse", problem: inserter?.load.problem)
            case .stopping: HealthCheck("lifecycle", problem: "the server is shutting down")
            }
        return [own] + (cluster.map { [$0.readiness] } ?? [])
    }

    /// Returns the values behind metrics and summaries.
    package func numbers(
        with configuration: ConfigurationReload.Statistics = ConfigurationReload.Statistics()
    ) -> ServerNumbers {
        var numbers = ServerNumbers()
        numbers.index = labeler.index.statistics
        numbers.ranges = ranges.catalog.statistics
        numbers.watches = cluster?.statistics ?? []
        numbers.configuration = configuration
        switch stage.withLock({ $0 }) {
        case .waiting, .preparing: break
        case .running(let ingest, let inserter), .stopping(let ingest, let inserter):
            numbers.ingest = ingest.statistics
            numbers.doubts = settlement.withLock { $0?.statistics } ?? DoubtSettlement.Statistics()
            let statistics = ledger.statistics
            numbers.flows = statistics.flows
            if let inserter, let blocks = statistics.sinks.first {
                (numbers.blocks, numbers.memory, numbers.inserts) = (blocks, statistics.memory, inserter.statistics)
            }
        }
        return numbers
    }

    /// Returns the status page.
    func status(with configuration: ConfigurationReload.Statistics) -> StatusPage {
        let minute = Int(WallClock.seconds() / FlowInterval.seconds)
        var page = StatusPage()
        page.uptime = begun.duration(to: .now)
        page.readiness = readiness
        page.numbers = numbers(with: configuration)
        page.isStored = self.configuration.isClickHouseEnabled
        page.maximumQueuedBytes = self.configuration.maximumQueuedBytes
        page.talkers = TalkerReport(talkers?.minutes(at: minute) ?? [], minute: minute)
        switch stage.withLock({ $0 }) {
        case .waiting, .preparing: break
        case .running(let ingest, _), .stopping(let ingest, _):
            page.agents = ingest.agents(atMost: StatusPage.maximumAgents)
        }
        return page
    }

    /// Frees memory that is kept for reuse.
    func releaseMemory() {
        switch stage.withLock({ $0 }) {
        case .waiting, .preparing: break
        case .running(let ingest, let inserter), .stopping(let ingest, let inserter):
            ingest.releaseMemory()
            inserter?.releaseMemory()
        }
    }

    // MARK: - Lifecycle

    package func run() async throws {
        let table = configuration.isClickHouseEnabled ? try await waitForTable() : nil
        guard table != nil || !configuration.isClickHouseEnabled else { return }
        let schema = table?.schema
        stage.withLock { $0 = .preparing }
        // Labels are final, so a flow that arrives before pods and ranges are known would keep wrong ones.
        await cluster?.waitUntilSynced()
        await ranges.waitUntilTried()
        guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return }
        // Releases the memory that only the start and the first lists needed.
        MemoryRelease.trim()
        let inserter = schema.map { schema in
            Inserter(
                configuration: configuration.inserter, schema: schema, logger: logger, account: ledger.openAccount())
        }
        let assemblers = Mutex<[NIOLoopBound<FlowAssembler>]>([])
        // Blocks being filled get half of the memory, and the other half is for full ones; otherwise nothing would move
        // on a machine with many processors.
        let limits = FlowAssembler.Limits(
            rows: configuration.batchRows,
            bytes: configuration.maximumQueuedBytes / 2 / System.coreCount,
            age: TimeAmount(configuration.batchMaximumAge))
        let settlement = table.flatMap { table -> DoubtSettlement? in
            guard table.settlesBlocks else { return nil }
            return DoubtSettlement(configuration.clickHouse, table.schema, logger: logger)
        }
        self.settlement.withLock { $0 = settlement }
        defer { settlement?.stop() }
        var access = access
        access.doubtSettler = settlement
        if inserter != nil { access.grantedBytes = configuration.maximumQueuedBytes / Self.memoryPerWireByte }
        let ingest = try await IngestServer(group: group, configuration: access, logger: logger) { eventLoop in
            let assembler = FlowAssembler(
                eventLoop: eventLoop, labeler: self.labeler, environment: self.configuration.site.environment,
                limits: limits, ledger: self.ledger, sink: inserter,
                isAnnouncing: settlement != nil, talkers: self.talkers?.makePart())
            let bound = NIOLoopBound(assembler, eventLoop: eventLoop)
            assemblers.withLock { $0.append(bound) }
            return assembler
        }
        ledger.addPressureHandler { [weak ingest] in ingest?.setReading(!$0) }
        do {
            _ = try await ingest.listen(port: configuration.port)
        } catch {
            throw ListenError(purpose: "agents", port: configuration.port, cause: error)
        }
        stage.withLock { $0 = .running(ingest, inserter) }

        async let _: Void? = inserter.map {
            SchemaWatch(configuration, inserter: $0, logger: logger, interval: schemaInterval)
        }?.run()
        await cancelWhenGracefulShutdown { await ingest.waitUntilListenerCloses() }

        stage.withLock { $0 = .stopping(ingest, inserter) }
        await ingest.stopAccepting(reason: "the server is shutting down")
        for assembler in assemblers.withLock({ $0 }) {
            try await assembler.eventLoop.flatSubmit { assembler.value.flush() }.get()
        }
        let lost = await inserter?.drain(timeout: configuration.shutdownTimeout) ?? 0
        await ingest.closeConnections()
        if lost > 0 {
            logger.error(
                "shutdown ends before ClickHouse has stored all rows; agents keep them and send them to another server",
                metadata: ["rows": "\(lost)"])
        }
    }

    /// Loads the table's columns, retrying until they are available; returns nil if the daemon shuts down before.
    private func waitForTable() async throws -> Table? {
        if configuration.clickHouse.proxy == .none,
            let variable = configuration.clickHouse.endpoints.lazy.compactMap({ url in
                HTTPClient.Proxy.variable(for: url, in: ProcessInfo.processInfo.environment)
            }).first
        {
            logger.notice(
                "the proxy in the environment is not used for ClickHouse",
                metadata: ["variable": "\(variable)", "remedy": "set clickhouse_proxy: environment to use it"])
        }
        let thread = OwnedThread(name: "table")
        let cancellation = HTTPCancellation()
        let table = try await cancelWhenGracefulShutdown { () -> Table? in
            var backoff = Backoff.clickHouseTable
            while !Task.isCancelled {
                let result = try await withTaskCancellationHandler {
                    try await thread.run { self.loadTable(cancellation) }
                } onCancel: {
                    cancellation.cancel()
                }
                switch result {
                case .success(let (schema, obstacle)):
                    let inserter = self.configuration.inserter
                    for warning in schema.warnings(inserter.asyncInsert, inserter.viewErrors) {
                        self.logger.warning("\(warning)")
                    }
                    if let obstacle {
                        self.logger.warning(
                            "batches in flight may be stored twice if a server is killed",
                            metadata: ["reason": "\(obstacle)"])
                    }
                    return Table(schema: schema, settlesBlocks: obstacle == nil)
                case .failure(let error) where !Task.isCancelled:
                    self.stage.withLock { $0 = .waiting("\(error)") }
                    self.logger.warning(
                        "not ready: waiting for ClickHouse before accepting agents",
                        metadata: ["error": "\(error)"])
                    try? await Task.sleep(for: backoff.next())
                case .failure: break
                }
            }
            return nil
        }
        return table
    }

    private func schemaUpdate(_ cancellation: HTTPCancellation) -> SchemaUpdate {
        SchemaUpdate(configuration.migration(cancellation: cancellation), logger: logger)
    }

    /// Loads the table's columns, and finds out whether it allows to settle blocks.
    private func loadTable(
        _ cancellation: HTTPCancellation
    ) -> Result<(schema: TableSchema, obstacle: String?), ClickHouseError> {
        let client = ClickHouseClient(configuration.clickHouse, cancellation: cancellation)
        return Result { () throws(ClickHouseError) in
            if configuration.schema.updates == .automatic { try schemaUpdate(cancellation).apply() }
            let schema = try TableSchema.load(table: configuration.table, of: client)
            let obstacle = try BlockFence.obstacle(to: schema, configuration.inserter.asyncInsert, asking: client)
            if configuration.schema.updates == .off { schemaUpdate(cancellation).report() }
            return (schema, obstacle)
        }
    }
}
