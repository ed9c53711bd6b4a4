// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Conntrack
import FlowExport
import FlowWire
import Logging
import NIOCore
import NIOPosix
import Operations
import ServiceLifecycle

/// The agent's wiring: kernel → collector → exporter → server.
struct Agent {
    private let configuration: AgentConfiguration
    private let logger: Logger

    init(_ configuration: AgentConfiguration) {
        self.configuration = configuration
        logger = Daemon.makeLogger("kubenetmon-agent", level: configuration.logLevel)
    }

    func run() async throws {
        let collector: Collector
        do {
            collector = try Collector(filter: FlowFilter(transports: configuration.protocols))
        } catch {
            logger.critical("\(error)")
            throw ExitCode.failure
        }
        checkAccounting()

        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let exporter = FlowExporter(
            configuration: FlowExporter.Configuration(
                host: configuration.serverHost, port: configuration.serverPort),
            hello: Hello(
                nodeName: configuration.nodeName, agentID: .random(), softwareVersion: Daemon.version),
            group: group, logger: logger)
        let collection = CollectionService(
            schedule: CollectionSchedule(
                interval: configuration.collectionInterval, nodeName: configuration.nodeName),
            collector: collector, exporter: exporter, logger: logger)
        let probes = ProbeServer(
            port: configuration.metricsPort, group: group, logger: logger,
            pages: ProbeServer.Pages(
                ready: { Self.readiness(collection.statistics, exporter.statistics) },
                metrics: { MetricsPage(collection: collection.statistics, export: exporter.statistics) }))

        do {
            // Stopped in reverse order: the last collection is drained before the probes end.
            try await Daemon.run(
                [probes, DrainService(exporter, timeout: configuration.shutdownTimeout, logger: logger), collection],
                logger: logger)
        } catch {
            logger.critical("\(error)")
            throw ExitCode.failure
        }
        try await group.shutdownGracefully()
    }

    private func checkAccounting() {
        guard ConntrackAccounting.isEnabled == false else { return }
        let remedy = "sysctl -w net.netfilter.nf_conntrack_acct=1, or start the agent with --enable-accounting true"
        guard configuration.enableAccounting else {
            logger.error(
                "the kernel does not count: net.netfilter.nf_conntrack_acct is 0, every flow will read zero",
                metadata: ["remedy": "\(remedy)"])
            return
        }
        do {
            try ConntrackAccounting.enable()
            logger.notice("turned on net.netfilter.nf_conntrack_acct; connections that exist already never count")
        } catch {
            logger.error("the kernel does not count", metadata: ["error": "\(error)", "remedy": "\(remedy)"])
        }
    }

    private static func readiness(
        _ collection: CollectionService.Statistics, _ export: FlowExporter.Statistics
    ) -> [HealthCheck] {
        [
            HealthCheck(
                "collection",
                problem: collection.lastError ?? (collection.lastSuccess == 0 ? "no collection has ended yet" : nil)),
            HealthCheck(
                "server", problem: export.isConnected ? nil : "no server is connected; batches are kept until one is"),
        ]
    }
}

/// When the daemon shuts down, waits until everything collected is acknowledged.
private struct DrainService: Service {
    private let exporter: FlowExporter
    private let timeout: Duration
    private let logger: Logger

    init(_ exporter: FlowExporter, timeout: Duration, logger: Logger) {
        self.exporter = exporter
        self.timeout = timeout
        self.logger = logger
    }

    func run() async throws {
        try? await gracefulShutdown()
        let rest = try await exporter.drain(timeout: TimeAmount(timeout))
        if rest.flows > 0 {
            logger.error(
                "not acknowledged in time: these flows are lost unless a server has them already",
                metadata: ["flows": "\(rest.flows)", "bytes": "\(rest.reportedBytes)"])
        } else {
            logger.info("everything collected is acknowledged")
        }
    }
}
