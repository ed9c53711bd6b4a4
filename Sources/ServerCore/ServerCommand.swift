// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import CMalloc
package import ClusterModel
import DocumentTree
import FoundationEssentials
package import KubernetesAPI
import Labeling
package import Logging
import Logs
import NIOCore
package import NIOPosix
import Operations
import Probes
package import ServiceLifecycle
import Settings
import Sockets
import Synchronization

/// The server's command line.
package struct ServerCommand: AsyncParsableCommand {
    /// The command's name and help.
    package static let configuration = CommandConfiguration(
        commandName: "kubenetmon-server",
        abstract: "Labels the flows of kubenetmon-agents and writes them to ClickHouse.",
        discussion: """
            Waits for ClickHouse with the table network_flows_0 and for the first lists of the cluster's pods, nodes \
            and services, then listens for agents. The cluster is the one that KUBECONFIG names, or else the one that \
            the server runs in. Each setting is a key of the configuration file, an environment variable and a flag; a \
            flag overrides a variable, and a variable overrides the file. See docs/configuration.md.

            SIGTERM stops the server with exit code 0 within shutdown_timeout: batches that ClickHouse has stored by \
            then are acknowledged, and the agents keep the rest. The exit code is 64 if settings are invalid, and 1 if \
            the server cannot run, for example because a port is in use.
            """,
        version: Daemon.version, subcommands: [ExplainCommand.self, MigrateCommand.self])

    @Option(
        name: .customLong("config"),
        help: "Configuration file (YAML); \(ConfigurationFile.defaultPath) if that exists.")
    var configurationFile: String?
    @Flag(
        help: """
            Check the settings and the files that they name, print each setting with its value and the value's source, \
            and exit: with 0 if everything is valid, with 64 if not.
            """)
    var checkConfig = false
    @Flag(help: .hidden)
    var printReference = false
    @Argument(
        parsing: .allUnrecognized,
        help: ArgumentHelp(
            "Settings, each written --name value.",
            discussion: ServerConfiguration.declarations.help(hasFile: true), valueName: "settings"))
    var settings: [String] = []

    /// Makes a command without arguments.
    package init() {}

    /// Runs the command that the process's arguments name, and exits if it fails.
    package static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        // The settings argument accepts unrecognized arguments, a subcommand's name included, so subcommands are
        // dispatched here.
        switch arguments.first {
        case "explain": ExplainCommand.main(Array(arguments.dropFirst()))
        case "migrate": MigrateCommand.main(Array(arguments.dropFirst()))
        default: await main(Array(arguments))
        }
    }

    /// Runs the server until it is asked to stop.
    package func run() async throws {
        // Blocks are filled by one thread and freed by another. With an arena for each thread, the process would keep
        // twice their memory, fragmented. With one arena threads seldom wait for one another, because most allocations
        // are served from per-thread caches.
        mallopt(M_ARENA_MAX, 1)
        // Large allocations are mapped from the system and return to it when freed; on the heap, small allocations
        // would soon occupy their place.
        mallopt(M_MMAP_THRESHOLD, 128 << 10)
        if printReference { return print(ServerConfiguration.declarations.markdown(hasFile: true)) }
        do {
            let file = ConfigurationFile(
                path: configurationFile, arguments: settings, environment: ProcessInfo.processInfo.environment)
            let (configuration, effective) = try file.read()
            if checkConfig { return try check(configuration, effective) }
            let log = DaemonLog(configuration.logging)
            let logger = log.makeLogger("kubenetmon-server")
            _ = try configuration.clickHouse.credentials.read()
            let inventory = try configuration.inventory()
            for warning in effective.warnings + configuration.warningsOfFiles() { logger.warning("\(warning)") }
            let cluster = try configuration.needsCluster ? discoverCluster(logger) : nil
            let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
            let services: [any Service]
            do {
                // The server listens for agents only after ClickHouse answers, so problems with the TLS files and the
                // port are reported now.
                try configuration.agents.checkTLSFiles()
                try Self.checkPort(configuration.port)
                services = try await Self.services(
                    configuration, inventory, cluster, group, descriptors: FileDescriptorLimit.raise(), logger
                ) { apply in
                    ConfigurationReload(file, settings: effective, logger: logger) { configuration in
                        log.level = configuration.logging.level
                        apply(configuration)
                    }
                }
            } catch {
                logger.critical("\(error)")
                throw ExitCode.failure
            }
            do {
                try await Daemon.run(services, shutdownTimeout: configuration.shutdownTimeout, logger: logger)
            } catch {
                throw ExitCode.failure
            }
            try await group.shutdownGracefully()
        } catch let problems as SettingsProblems {
            throw ValidationError("\(problems)")
        } catch let problems as DocumentProblems {
            throw ValidationError("\(problems)")
        } catch let error as ClusterConfigurationError {
            throw ValidationError(
                "\(error); or list the cluster's nodes and pods in a file: --inventory FILE, or the key inventory_file")
        }
    }

    private func check(_ configuration: ServerConfiguration, _ effective: EffectiveSettings) throws {
        print(effective.description)
        for warning in configuration.warningsOfFiles() { print("# warning: \(warning)") }
        let problems = configuration.problemsOfFiles()
        guard problems.isEmpty else { throw ValidationError(problems.joined(separator: "\n")) }
    }

    private static func checkPort(_ port: Int) throws(ListenError) {
        do {
            try PortCheck.check(port)
        } catch {
            throw ListenError(purpose: "agents", port: port, cause: error)
        }
    }

    private func discoverCluster(_ logger: Logger) throws -> ClusterConfiguration {
        var cluster = try ClusterConfiguration.discover(environment: ProcessInfo.processInfo.environment)
        cluster.userAgent = Daemon.userAgent("kubenetmon-server")
        logger.info(
            "watching the cluster", metadata: ["server": "\(cluster.server)", "configuration": "\(cluster.origin)"])
        for warning in cluster.warnings { logger.warning("\(warning)") }
        return cluster
    }

    /// Creates the services to run, and already listens on the port for probes.
    ///
    /// - Parameter descriptors: The limit on open files. Agents' connections leave some of them for everything else:
    ///   probes, ClickHouse, the API server, files.
    package static func services(
        _ settings: ServerConfiguration, _ inventory: Inventory, _ cluster: ClusterConfiguration?,
        _ group: MultiThreadedEventLoopGroup, descriptors: Int, _ logger: Logger,
        _ makeReload: (_ apply: @escaping @Sendable (ServerConfiguration) -> Void) -> ConfigurationReload
    ) async throws -> [any Service] {
        var access = settings.agents.configuration(cluster: cluster, logger: logger)
        access.limits.connections = min(access.limits.connections, max(descriptors - 256, descriptors / 2))
        let index = ClusterIndex(site: settings.site, flagRules: settings.labeling.flagRules)
        index.add(inventory)
        let labeler = Labeler(index: index, configuration: settings.labeling)
        let rangeService = CloudRangeService(
            settings.cloudRanges(with: inventory), labeler: labeler, site: settings.site, logger: logger)
        let watch = cluster.flatMap { cluster in
            settings.watchesCluster ? cluster : nil
        }.map {
            ClusterWatch(
                settings.kubernetes, cluster: $0, podLabels: settings.podLabels, index: index, logger: logger)
        }
        let pipeline = Pipeline(
            configuration: settings, labeler: labeler, cluster: watch, ranges: rangeService,
            access: access, group: group, logger: logger)
        let podRules = Mutex(settings.podRules)
        let reload = makeReload { configuration in
            labeler.apply(configuration.labeling)
            rangeService.apply(configuration.cloudRanges(with: inventory))
            let isOther = podRules.withLock { rules in
                defer { rules = configuration.podRules }
                return rules != configuration.podRules
            }
            if isOther { watch?.apply(configuration.podLabels) }
        }
        var pages = ProbeServer.Pages(
            ready: { pipeline.readiness }, metrics: { MetricsPage(pipeline.numbers(with: reload.statistics)) },
            local: ["/explain": { labeler.answer(query: $0) }])
        switch settings.statusPage {
        case .everyone: pages.open["/"] = { pipeline.status(with: reload.statistics).html }
        case .local: pages.local["/"] = { _ in .page(pipeline.status(with: reload.statistics).html) }
        case .off: break
        }
        let probes = try await ProbeServer.listen(
            on: settings.metricsAddress, port: settings.metricsPort, logger: logger, pages: pages)
        // Services end in reverse order, so the last flows are labelled like all others.
        let summary = SummaryService(logger: logger) {
            SummaryService.Numbers(pipeline.numbers(with: reload.statistics))
        }
        let memory = MemoryRelease { pipeline.releaseMemory() }
        return [probes, summary, memory, reload, rangeService] + (watch.map { [$0] } ?? []) + [pipeline]
    }
}
