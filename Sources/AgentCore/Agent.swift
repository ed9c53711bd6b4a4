// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Conntrack
import FlowCollection
import FlowExport
import FlowModel
import FlowWire
import HostAddresses
import InstanceLock
import Logging
import Logs
import NIOCore
package import NIOPosix
import Operations
import Probes
package import ServiceLifecycle
import TextFormats

/// The agent's wiring: kernel → collection and events → exporter → server.
package struct Agent: Sendable {
    private let configuration: AgentConfiguration
    private let logger: Logger

    /// Makes an agent and logs the warnings about its settings.
    package init(_ configuration: AgentConfiguration, warnings: [String]) {
        self.configuration = configuration
        logger = DaemonLog(configuration.logging).makeLogger("kubenetmon-agent")
        for warning in warnings { logger.warning("\(warning)") }
    }

    func run() async throws {
        ProgramText.unmap()
        FileDescriptorLimit.raise()
        enableAccounting()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            try await Daemon.run(
                services(on: group), shutdownTimeout: configuration.shutdownTimeout, logger: logger)
        } catch {
            throw ExitCode.failure
        }
        try await group.shutdownGracefully()
    }

    /// Makes the services that run for the life of the process.
    package func services(on group: MultiThreadedEventLoopGroup) -> [any Service] {
        var export = FlowExporter.Configuration(
            host: configuration.serverHost, port: configuration.serverPort,
            maximumUnacknowledgedBytes: configuration.spoolBytes,
            answerTimeout: TimeAmount(configuration.serverAnswerTimeout))
        export.tls = configuration.tls
        export.token = configuration.token
        export.spoolDirectory = configuration.spoolDirectory
        let exporter = FlowExporter(
            configuration: export,
            hello: Hello(
                nodeName: configuration.nodeName, agentID: .random(), softwareVersion: Daemon.version),
            group: group, logger: logger)
        let conntrackCheck = ConntrackSelfCheck()
        let selfCheck = SelfCheck(
            conditions: ConntrackSelfCheck.conditions + [.counters, .spool, .instanceLock],
            uptimeWait: configuration.uptimeWait,
            neverCounted: configuration.skipSanityCheck ? nil : ConntrackSelfCheck.neverCounted, logger: logger)
        selfCheck.look(reader: conntrackCheck.problems())
        let lock = LockConfiguration(
            workload: configuration.workloadName, makeProof: { Descriptor(owning: try EventSocket.open()) },
            isEventSocket: EventSocket.isOne)
        // Stopped in reverse order: collection has ended when the exporter is drained.
        return [
            SecondSignalService(), DrainService(exporter, timeout: configuration.shutdownTimeout, logger: logger),
            HostAddressService(logger: logger) { exporter.tell(hostAddresses: $0) },
            LockService(lock, group: group, exporter: exporter, selfCheck: selfCheck, logger: logger) { socket in
                try await makeTurn(socket, exporter, selfCheck, conntrackCheck)
            },
        ]
    }

    /// Makes the services that collect while this process holds the lock.
    ///
    /// - Parameter socket: The event socket of the lock's previous holder; nil if there is none.
    private func makeTurn(
        _ socket: Descriptor?, _ exporter: FlowExporter, _ selfCheck: SelfCheck, _ conntrackCheck: ConntrackSelfCheck
    ) async throws -> LockService.Turn {
        let filter = FlowFilter(transports: configuration.protocols, zones: configuration.zones)
        // Events first, so that connections that end during the first collection are not missed.
        let eventBatches = EventBatches(exporter: exporter)
        let destroyEvents = try listen(filter, on: socket) { eventBatches.append($0) }
        let conntrackEvents = ConntrackEvents(destroyEvents, selfCheck: conntrackCheck)
        let events = EventService(events: conntrackEvents, batches: eventBatches, logger: logger)
        let collection = CollectionService(
            schedule: CollectionSchedule(
                interval: configuration.collectionInterval, nodeName: configuration.nodeName),
            reader: try ConntrackReader(
                mode: configuration.collectionMode, filter: filter, events: conntrackEvents, logger: logger),
            exporter: exporter, selfCheck: selfCheck, logger: logger)
        let spoolBytes = configuration.spoolBytes
        let numbers = { @Sendable in
            var numbers = AgentNumbers(
                collection: collection, events: events, reader: conntrackEvents, export: exporter.statistics,
                selfCheck: selfCheck)
            (numbers.entries, numbers.maximumEntries) = (ConntrackSettings().count, ConntrackSettings().maximum)
            (numbers.spoolBytes, numbers.now) = (spoolBytes, WallClock.now())
            return numbers
        }
        let nodeName = configuration.nodeName
        let probes = try await ProbeServer.listen(
            on: configuration.metricsAddress, port: configuration.metricsPort, logger: logger,
            pages: ProbeServer.Pages(
                ready: { Self.readiness(collection.statistics, exporter.statistics) },
                metrics: { MetricsPage(numbers()) },
                open: [
                    "/": {
                        let numbers = numbers()
                        return HTMLPage(
                            numbers, nodeName: nodeName,
                            readiness: Self.readiness(numbers.collection, numbers.export))
                    }
                ]))
        // Stopped in reverse order: the last collection comes before the last events, and the port is released last.
        return LockService.Turn(
            services: [
                probes, SummaryService(logger: logger) { SummaryService.Numbers(numbers()) }, events, collection,
            ],
            duplicateEventSocket: { Descriptor(duplicating: destroyEvents.descriptor) })
    }

    private func listen(
        _ filter: FlowFilter, on socket: Descriptor?, handle: @escaping @Sendable ([EndedConnection]) -> Void
    ) throws -> DestroyEvents {
        let bytes = configuration.eventBufferBytes
        let events =
            if let socket {
                try DestroyEvents(adopting: socket.number, filter, receiveBufferBytes: bytes, handle: handle)
            } else {
                try DestroyEvents(filter, receiveBufferBytes: bytes, handle: handle)
            }
        if events.receiveBuffer < configuration.eventBufferBytes {
            logger.warning(
                """
                the receive buffer for conntrack events is smaller than EVENT_BUFFER_BYTES: raise net.core.rmem_max, \
                which limits it without CAP_NET_ADMIN in the initial user namespace
                """,
                metadata: [
                    "bytes": "\(events.receiveBuffer)", "asked_for": "\(configuration.eventBufferBytes)",
                    "events_that_fit": "\(events.receiveBuffer / DestroyEvents.chargePerEvent)",
                ])
        }
        return events
    }

    private func enableAccounting() {
        guard configuration.enableAccounting, ConntrackSettings().isAccountingEnabled == false else { return }
        do {
            try ConntrackSettings().enableAccounting()
            logger.notice("turned on net.netfilter.nf_conntrack_acct; existing connections are never counted")
        } catch {
            logger.error(
                "cannot turn on net.netfilter.nf_conntrack_acct: the kernel does not count",
                metadata: ["error": "\(error)"])
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
                "server",
                problem: export.refusal
                    ?? (export.isConnected ? nil : "not connected to a server; batches are kept in the spool")),
        ]
    }
}
