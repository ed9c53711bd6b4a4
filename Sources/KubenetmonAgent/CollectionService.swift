// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import Logging
import NIOPosix
import Operations
import ServiceLifecycle
import Synchronization

/// Collects once an interval, and one last time when the daemon shuts down.
final class CollectionService: Service, CustomStringConvertible {
    /// What has been collected so far.
    struct Statistics: Sendable {
        var collections: UInt64 = 0
        /// The time that they took.
        var duration = Duration.zero
        /// The CPU time that they took.
        var cpuTime = Duration.zero
        var ignored: [FlowFilter.Reason: UInt64] = [:]
        var malformedEntries: UInt64 = 0
        var goneEntries: UInt64 = 0
        var lostAnswers: UInt64 = 0
        var refusedEntries: UInt64 = 0
        var boundaryHits: UInt64 = 0
        var failedCollections: UInt64 = 0
        /// Collections that were left out or cut short because too much waits for an acknowledgement.
        var deferredCollections: UInt64 = 0
        var interruptedCollections: UInt64 = 0
        var tableEntries = 0
        var lastDuration = Duration.zero
        /// When the last collection without an error ended, in seconds since the Unix epoch.
        var lastSuccess: Double = 0
        var lastError: String?
    }

    let description = "collection"

    /// The least time between two unmappings of the program's code.
    private static let unmapInterval: Duration = .seconds(5)

    private let schedule: CollectionSchedule
    private let events: DestroyEvents
    private let exporter: FlowExporter
    private let selfCheck: SelfCheck
    private let logger: Logger
    private let collector: Mutex<Collector>
    private let statisticsStorage = Mutex(Statistics())

    init(
        schedule: CollectionSchedule, collector: consuming sending Collector, events: DestroyEvents,
        exporter: FlowExporter, selfCheck: SelfCheck, logger: Logger
    ) {
        self.schedule = schedule
        self.collector = Mutex(collector)
        self.events = events
        self.exporter = exporter
        self.selfCheck = selfCheck
        self.logger = logger
    }

    var statistics: Statistics { statisticsStorage.withLock { $0 } }

    func run() async throws {
        // Reading the table blocks for as long as the table is large: a thread of its own keeps that off all others.
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        try await pool.runIfActive { self.findZones() }
        do {
            try await cancelWhenGracefulShutdown {
                // What the start needed, reading certificates among it, would be the most that is ever resident.
                ProgramText.unmap()
                var lastUnmap = ContinuousClock.now - Self.unmapInterval
                while true {
                    let delay = self.schedule.delay(after: WallClock.now())
                    // A while after the last collection busy connections have counted again; most of the interval follows.
                    try await Task.sleep(for: delay / 5)
                    try await pool.runIfActive { self.sample() }
                    try await Task.sleep(for: self.schedule.delay(after: WallClock.now()))
                    self.unmapText(&lastUnmap)
                    try await pool.runIfActive { self.collectOnce() }
                }
            }
        } catch is CancellationError {
            logger.info("shutting down: collecting one last time")
        }
        try await pool.runIfActive { self.collectOnce(isLast: true) }
        try await pool.shutdownGracefully()
    }

    /// Unmaps code that is used seldom: connecting, TLS handshakes, pages of metrics. What an interval needs is mapped again
    /// in a tenth of a millisecond.
    private func unmapText(_ last: inout ContinuousClock.Instant) {
        guard ContinuousClock.now - last >= Self.unmapInterval else { return }
        ProgramText.unmap()
        last = .now
    }

    private func findZones() {
        do {
            try collector.withLock { try $0.findZones() }
        } catch {
            logger.warning(
                "cannot look for conntrack zones; they are found as they appear", metadata: ["error": "\(error)"])
        }
    }

    private func sample() {
        do {
            try collector.withLock { try $0.sample() }
        } catch {
            logger.debug("cannot sample entries", metadata: ["error": "\(error)"])
        }
    }

    private func collectOnce(isLast: Bool = false) {
        guard exporter.hasRoom else {
            statisticsStorage.withLock { $0.deferredCollections += 1 }
            logger.warning(
                "too much waits for an acknowledgement: the kernel goes on counting until the server takes it",
                metadata: ["unacknowledged_bytes": "\(exporter.statistics.unacknowledgedBytes)"])
            return
        }
        let clock = ContinuousClock()
        let (begin, cpuBegin) = (clock.now, ThreadClock.now())
        let report = collector.withLock { $0.collect(isLast: isLast) }
        let (duration, cpuTime) = (begin.duration(to: clock.now), ThreadClock.now() - cpuBegin)
        statisticsStorage.withLock { $0.add(report, took: duration, cpuTime) }
        let received = events.statistics
        selfCheck.look(
            SelfCheck.Findings(
                entries: report.collection.entries,
                everCounted: exporter.statistics.collected[.scrape].map { $0.flows > 0 } ?? false,
                foreignResets: received.foreignResets, zones: received.zones))
        if let error = report.error {
            logger.error("a collection ended early", metadata: ["error": "\(error)"])
        }
        if report.collection.lostAnswers > 0 {
            logger.error(
                "entries were zeroed and the kernel's answers did not fit the socket's buffer: their counters are lost",
                metadata: ["entries": "\(report.collection.lostAnswers)"])
        }
        if let refusal = report.collection.refusal {
            logger.error(
                "the kernel refused to read and zero entries; they go on counting",
                metadata: ["entries": "\(report.collection.refusedEntries)", "error": "\(refusal)"])
        }
        logger.debug(
            "collected",
            metadata: [
                "entries": "\(report.collection.entries)", "flows": "\(report.collectedFlows)",
                "bytes": "\(report.collectedBytes)",
            ])
    }
}

extension CollectionService.Statistics {
    fileprivate mutating func add(_ report: Collector.Report, took duration: Duration, _ cpuTime: Duration) {
        let collection = report.collection
        collections += 1
        self.duration += duration
        self.cpuTime += cpuTime
        for reason in FlowFilter.Reason.allCases {
            ignored[reason, default: 0] += UInt64(collection.ignored[reason])
        }
        malformedEntries += UInt64(collection.malformedEntries)
        goneEntries += UInt64(collection.goneEntries)
        lostAnswers += UInt64(collection.lostAnswers)
        refusedEntries += UInt64(collection.refusedEntries)
        boundaryHits += UInt64(collection.boundaryHits)
        if collection.isCutShort { deferredCollections += 1 }
        if collection.isInterrupted { interruptedCollections += 1 }
        tableEntries = collection.entries
        lastDuration = duration
        let error = report.error ?? (report.collectedFlows == 0 ? collection.refusal : nil)
        lastError = error.map { "\($0)" }
        if error == nil { lastSuccess = WallClock.now().seconds } else { failedCollections += 1 }
    }
}
