// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import Logging
import NIOCore
import NIOPosix
import Operations
import ServiceLifecycle
import Synchronization

/// Collects once an interval, and one last time when the daemon shuts down.
final class CollectionService: Service {
    /// What has been collected so far.
    struct Statistics: Sendable {
        var collectedFlows: UInt64 = 0
        var collectedBytes: UInt64 = 0
        var ignored: [FlowFilter.Reason: UInt64] = [:]
        var malformedEntries: UInt64 = 0
        var boundaryHits: UInt64 = 0
        var failedCollections: UInt64 = 0
        var skippedCollections: UInt64 = 0
        var tableEntries = 0
        var lastDuration = Duration.zero
        /// When the last collection without an error ended, in seconds since the Unix epoch.
        var lastSuccess: Double = 0
        var lastError: String?
    }

    private let schedule: CollectionSchedule
    private let exporter: FlowExporter
    private let logger: Logger
    private let collector: Mutex<Collector>
    private let statisticsStorage = Mutex(Statistics())

    init(
        schedule: CollectionSchedule, collector: consuming sending Collector, exporter: FlowExporter, logger: Logger
    ) {
        self.schedule = schedule
        self.collector = Mutex(collector)
        self.exporter = exporter
        self.logger = logger
    }

    var statistics: Statistics { statisticsStorage.withLock { $0 } }

    func run() async throws {
        // Reading the table blocks for as long as the table is large: a thread of its own keeps that off all others.
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        exporter.start()
        do {
            try await cancelWhenGracefulShutdown {
                while true {
                    try await Task.sleep(for: self.schedule.delay(after: WallClock.now()))
                    try await pool.runIfActive { self.collectOnce() }
                }
            }
        } catch is CancellationError {
            logger.info("shutting down: collecting one last time")
        }
        try await pool.runIfActive { self.collectOnce() }
        try await pool.shutdownGracefully()
    }

    private func collectOnce() {
        guard exporter.hasRoom else {
            statisticsStorage.withLock { $0.skippedCollections += 1 }
            logger.warning(
                "too much waits for an acknowledgement: the kernel goes on counting until the server takes it")
            return
        }
        let clock = ContinuousClock()
        let begin = clock.now
        let report = collector.withLock { $0.collect(deliver: exporter.enqueue) }
        let duration = begin.duration(to: clock.now)
        statisticsStorage.withLock {
            $0.collectedFlows += UInt64(report.collectedFlows)
            $0.collectedBytes &+= report.collectedBytes
            for (reason, count) in report.ignored { $0.ignored[reason, default: 0] += UInt64(count) }
            $0.malformedEntries += UInt64(report.collection.malformedEntries)
            $0.boundaryHits += UInt64(report.collection.boundaryHits)
            $0.tableEntries = report.collection.entries
            $0.lastDuration = duration
            $0.lastError = report.error.map { "\($0)" }
            if report.error == nil {
                $0.lastSuccess = WallClock.now().seconds
            } else {
                $0.failedCollections += 1
            }
        }
        if let error = report.error {
            logger.error("a collection ended early", metadata: ["error": "\(error)"])
        }
        logger.debug(
            "collected",
            metadata: [
                "entries": "\(report.collection.entries)", "flows": "\(report.collectedFlows)",
                "bytes": "\(report.collectedBytes)", "boundary_hits": "\(report.collection.boundaryHits)",
            ])
    }
}
