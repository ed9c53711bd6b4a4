// SPDX-License-Identifier: Apache-2.0

package import FlowExport
import FlowModel
package import Logging
import Operations
import ServiceLifecycle
import Synchronization
import Threads

/// Collects once per interval, and one last time when the daemon shuts down.
package final class CollectionService: Service, CustomStringConvertible {
    /// Statistics of all collections so far.
    package struct Statistics: Sendable {
        /// Collections that were started.
        package var collections: UInt64 = 0
        /// The total time of all collections.
        package var duration = Duration.zero
        /// The total CPU time of all collections.
        package var cpuTime = Duration.zero
        /// Entries that were ignored; for the properties from here to `boundaryHits`, see ``CollectionReport``.
        package var ignored = IgnoredFlows()
        package var malformedEntries: UInt64 = 0
        package var goneEntries: UInt64 = 0
        package var lostAnswers: UInt64 = 0
        package var refusedEntries: UInt64 = 0
        package var boundaryHits: UInt64 = 0
        package var failedCollections: UInt64 = 0
        /// Collections that were skipped or cut short because too much was unacknowledged.
        package var deferredCollections: UInt64 = 0
        package var interruptedCollections: UInt64 = 0
        /// Entries in the last collection.
        package var tableEntries = 0
        /// The duration of the last collection.
        package var lastDuration = Duration.zero
        /// The end of the last collection without an error, in seconds since the Unix epoch; 0 if there is none.
        package var lastSuccess: Double = 0
        /// The error of the last collection; nil if there was none.
        package var lastError: String?

        /// Makes statistics of no collections.
        package init() {}
    }

    /// The service's name in the log.
    package let description = "collection"

    /// The minimum time between two unmappings of the program's code.
    private static let unmapInterval: Duration = .seconds(5)

    private let schedule: CollectionSchedule
    private let events: any ConnectionEvents
    private let exporter: FlowExporter
    private let selfCheck: SelfCheck
    private let logger: Logger
    private let collector: Mutex<Collector>
    private let statisticsStorage = Mutex(Statistics())

    /// - Parameters:
    ///   - schedule: The times of collections.
    ///   - reader: The source of the flows.
    ///   - exporter: The destination of the flows. Nothing is collected while it has no room.
    ///   - selfCheck: The check to run after every collection.
    ///   - maximumWait: The time for which a collection waits at most for a server that is behind.
    ///   - logger: The logger for failed and deferred collections.
    package init(
        schedule: CollectionSchedule, reader: sending any FlowReader, exporter: FlowExporter, selfCheck: SelfCheck,
        maximumWait: Duration = .seconds(2), logger: Logger
    ) {
        self.schedule = schedule
        events = reader.events
        collector = Mutex(Collector(reader, exporter: exporter, maximumWait: maximumWait))
        self.exporter = exporter
        self.selfCheck = selfCheck
        self.logger = logger
    }

    /// The statistics so far.
    package var statistics: Statistics { statisticsStorage.withLock { $0 } }

    /// Collects until the daemon shuts down, and then once more.
    package func run() async throws {
        // Reading a large table blocks for a long time.
        let thread = OwnedThread(name: "collection")
        try await thread.run { self.prepare() }
        do {
            try await cancelWhenGracefulShutdown {
                // Otherwise the code that only the start needs, such as reading certificates, would set the peak of
                // resident memory.
                ProgramText.unmap()
                var lastUnmap = ContinuousClock.now - Self.unmapInterval
                while true {
                    let delay = self.schedule.delay(after: WallClock.now())
                    // After a fifth of the delay, busy connections have counted again, and most of the interval is left
                    // for the comparison with these samples.
                    try await Task.sleep(for: delay / 5)
                    try await thread.run { self.sample() }
                    try await Task.sleep(for: self.schedule.delay(after: WallClock.now()))
                    self.unmapText(&lastUnmap)
                    try await thread.run { self.collectOnce() }
                }
            }
        } catch is CancellationError {
            logger.info("shutting down: collecting one last time")
        }
        try await thread.run { self.collectOnce(isLast: true) }
    }

    /// Unmaps rarely used code: connecting, TLS handshakes, metrics pages. Mapping the code that an interval needs
    /// again takes 0.1 ms.
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
                "collection skipped: too many bytes are unacknowledged; the counters stay in the kernel",
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
            everCounted: exporter.statistics.balance.collected[.scrape].map { $0.flows > 0 } ?? false)
        if let error = report.collection.error {
            logger.error(
                "a collection failed; counters not yet read stay in the kernel", metadata: ["error": "\(error)"])
        }
        if report.collection.lostAnswers > 0 {
            logger.error(
                "counters are lost: the kernel zeroed entries, and its responses did not fit the receive buffer",
                metadata: ["entries": "\(report.collection.lostAnswers)"])
        }
        if let refusal = report.collection.refusal {
            logger.error(
                "the kernel refused to read and zero entries; their counters stay in the kernel",
                metadata: ["entries": "\(report.collection.refusedEntries)", "error": "\(refusal)"])
        }
        logger.debug(
            "collected",
            metadata: [
                "entries": "\(report.collection.entries)", "flows": "\(report.collected.flows)",
                "bytes": "\(report.collected.bytes)",
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
        let error = collection.error ?? (report.collected.flows == 0 ? collection.refusal : nil)
        lastError = error.map { "\($0)" }
        if error == nil { lastSuccess = WallClock.now().seconds } else { failedCollections += 1 }
    }
}
