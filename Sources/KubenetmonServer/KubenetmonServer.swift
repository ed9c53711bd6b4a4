// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CMalloc
import Foundation
import Kubernetes
import Labeling
import Logging
import NIOCore
import NIOPosix
import Operations
import ServiceLifecycle
import StrictYAML

@main
struct KubenetmonServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kubenetmon-server",
        abstract: "Labels the flows of kubenetmon-agents and writes them to ClickHouse.",
        discussion: """
            Waits for ClickHouse and its table network_flows_0 and for the first lists of the cluster's pods, nodes and \
            services, then listens for agents. The cluster is that of KUBECONFIG, else the one that the server runs in. \
            README.md describes the configuration file and the inventory.

            SIGTERM ends it with exit code 0 within shutdown_timeout: what ClickHouse has by then is acknowledged, the rest \
            stays with the agents. It exits with 64 where settings are wrong, with 1 where a port cannot be had.
            """,
        version: Daemon.version, subcommands: [ExplainCommand.self])

    @Option(name: .customLong("config"), help: "The configuration file, in YAML.")
    var configurationFile = "/etc/kubenetmon-server/config.yaml"
    @Option(help: "The inventory of nodes, pods and ranges, in YAML; wins over the key inventory_file.")
    var inventory: String?
    @Option(help: "Where ClickHouse's user and password are, in the files username and password.")
    var credentials = "/etc/clickhouse"
    @Option(
        help: "Least severe level to log: trace, debug, info, notice, warning, error or critical.",
        transform: {
            guard let level = Logger.Level(rawValue: $0) else { throw ValidationError("'\($0)' is not a level") }
            return level
        })
    var logLevel = Logger.Level.info

    func run() async throws {
        // Blocks are filled by one thread and freed by another. With an arena for each thread, twice their memory stays
        // with the process, in pieces; one thread seldom waits for another in few arenas, since most goes through caches.
        mallopt(M_ARENA_MAX, 1)
        let logger = Daemon.makeLogger("kubenetmon-server", level: logLevel)
        do {
            var settings = try ServerConfiguration(contentsOf: configurationFile)
            try settings.readCredentials(directory: credentials)
            guard settings.isClickHouseEnabled else {
                throw ValidationError("clickhouse_enabled: false leaves the server without anything to do")
            }
            if let inventory { settings.inventoryFile = inventory }
            let inventory = try settings.inventoryFile.map { path throws(YAMLProblems) in
                try Inventory(contentsOf: path)
            }
            let cluster = try settings.watchesCluster ? discoverCluster(logger) : nil
            for warning in settings.warnings { logger.warning("\(warning)") }
            try await run(settings, inventory ?? Inventory(), cluster, logger)
        } catch let problems as YAMLProblems {
            throw ValidationError("\(problems)")
        } catch let error as ClusterConfigurationError {
            throw ValidationError(
                """
                \(error); or name the cluster's nodes and pods in a file: --inventory FILE, or the key inventory_file in \
                \(configurationFile)
                """)
        } catch let error as ListenError {
            logger.critical("\(error)")
            throw ExitCode.failure
        }
    }

    private func discoverCluster(_ logger: Logger) throws -> ClusterConfiguration {
        let cluster = try ClusterConfiguration.discover(environment: ProcessInfo.processInfo.environment)
        logger.info(
            "watching the cluster", metadata: ["server": "\(cluster.server)", "configuration": "\(cluster.origin)"])
        for warning in cluster.warnings { logger.warning("\(warning)") }
        return cluster
    }

    private func run(
        _ settings: ServerConfiguration, _ inventory: Inventory, _ cluster: ClusterConfiguration?, _ logger: Logger
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        let index = ClusterIndex(site: settings.site, flagRules: settings.labeling.flagRules)
        index.add(inventory)
        let labeler = Labeler(index: index, site: settings.site, configuration: settings.labeling)
        var ranges = settings.cloudRanges
        ranges.namedRanges += inventory.ranges.flatMap(\.cloudRanges)
        let rangeService = CloudRangeService(ranges, labeler: labeler, site: settings.site, logger: logger)
        let watch = cluster.map {
            ClusterWatch(
                settings.kubernetes, cluster: $0, podLabels: settings.podLabels, index: index, logger: logger)
        }
        let pipeline = Pipeline(
            configuration: settings, labeler: labeler, cluster: watch, ranges: rangeService, group: group,
            logger: logger)
        let probes = ProbeServer(
            port: settings.metricsPort, group: group, logger: logger,
            pages: ProbeServer.Pages(
                ready: { pipeline.readiness }, metrics: { pipeline.metrics },
                local: ["/explain": { labeler.answer(query: $0) }]))
        // They end in reverse order: the last flows are labelled like all others.
        let services: [any Service] = [probes, rangeService] + (watch.map { [$0] } ?? []) + [pipeline]
        try await Daemon.run(services, logger: logger)
        try await group.shutdownGracefully()
    }
}
