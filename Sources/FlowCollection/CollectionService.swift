// SPDX-License-Identifier: Apache-2.0

package import FlowExport
import FlowModel
package import Logging
import NIOPosix
import Operations
import ServiceLifecycle
import Synchronization

/// Collects once an interval, and one last time when the daemon shuts down.
package final class CollectionService: Service, CustomStringConvertible {
    /// What has been collected so far.
    package struct Statistics: Sendable {
        /// Collections that were begun.
        package var collections: UInt64 = 0
        /// The time that they took.
        package var duration = Duration.zero
        /// The CPU time that they took.
        package var cpuTime = Duration.zero
        /// Entries that were left out; here and below, see ``CollectionReport``.
        package var ignored = IgnoredFlows()
        package var malformedEntries: UInt64 = 0
        package var goneEntries: UInt64 = 0
        package var lostAnswers: UInt64 = 0
        package var refusedEntries: UInt64 = 0
        package var boundaryHits: UInt64 = 0
        package var failedCollections: UInt64 = 0
        /// Collections that were left out or cut short because too much waits for an acknowledgement.
        package var deferredCollections: UInt64 = 0
        package var interruptedCollections: UInt64 = 0
        /// Entries that the last collection saw.
        package var tableEntries = 0
        /// The time that the last collection took.
        package var lastDuration = Duration.zero
        /// When the last collection without an error ended, in seconds since the Unix epoch.
        package var lastSuccess: Double = 0
        /// Why the last collection failed; nil where it did not.
        package var lastError: String?

        /// Nothing has been collected.
        package init() {}
    }

    /// The service's name in the log.
    package let description = "collection"

    /// The least time between two unmappings of the program's code.
    private static let unmapInterval: Duration = .seconds(5)

    private let schedule: CollectionSchedule
    private let events: any ConnectionEvents
    private let exporter: FlowExporter
    private let selfCheck: SelfCheck
    private let logger: Logger
    private let collector: Mutex<Collector>
    private let statisticsStorage = Mutex(Statistics())

    /// - Parameters:
    ///   - schedule: When to collect.
    ///   - reader: What to collect from.
    ///   - exporter: Where flows go. Nothing is collected while it has no room.
    ///   - selfCheck: Told after every collection what it has found.
    ///   - logger: For collections that fail.
    package init(
        schedule: CollectionSchedule, reader: sending any FlowReader, exporter: FlowExporter, selfCheck: SelfCheck,
        logger: Logger
    ) {
        self.schedule = schedule
        events = reader.events
        collector = Mutex(Collector(reader, exporter: exporter))
        self.exporter = exporter
        self.selfCheck = selfCheck
        self.logger = logger
    }

    /// What has been collected so far.
    package var statistics: Statistics { statisticsStorage.withLock { $0 } }

    /// Collects until the daemon shuts down, and then once more.
    package func run() async throws {
        // Reading the table blocks for as long as the table is large: a thread of its own keeps that off all others.
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        try await pool.runIfActive { self.prepare() }
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

    private func prepare() { collector.withLock { $0.reader.prepare() } }

    private func sample() {
        do {
            try collector.withLock { try $0.reader.sample() }
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
        selfCheck.look(
            reader: events.problems, entries: report.collection.entries,
            everCounted: exporter.statistics.collected[.scrape].map { $0.flows > 0 } ?? false)
        if let error = report.collection.error {
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
        ignored += collection.ignored
        malformedEntries += UInt64(collection.malformedEntries)
        goneEntries += UInt64(collection.goneEntries)
        lostAnswers += UInt64(collection.lostAnswers)
        refusedEntries += UInt64(collection.refusedEntries)
        boundaryHits += UInt64(collection.boundaryHits)
        if collection.isCutShort { deferredCollections += 1 }
        if collection.isInterrupted { interruptedCollections += 1 }
        tableEntries = collection.entries
        lastDuration = duration
        let error = collection.error ?? (report.collectedFlows == 0 ? collection.refusal : nil)
        lastError = error.map { "\($0)" }
        if error == nil { lastSuccess = WallClock.now().seconds } else { failedCollections += 1 }
    }
}
