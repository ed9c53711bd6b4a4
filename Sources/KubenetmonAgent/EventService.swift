// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import FlowModel
import Glibc
import Logging
import NIOPosix
import Operations
import ServiceLifecycle
import Synchronization

/// Puts what the kernel tells of ended connections into batches, on a thread of its own.
final class EventService: Service, CustomStringConvertible {
    /// What the kernel has told so far.
    struct Statistics: Sendable {
        var events: UInt64 = 0
        var ignored: [FlowFilter.Reason: UInt64] = [:]
        /// Flows that no longer fitted below the bound on what may wait for an acknowledgement.
        var lost = FlowAmount()
        var overruns: UInt64 = 0
        var malformedEvents: UInt64 = 0
        /// CPU time of the thread that listens.
        var cpuTime = Duration.zero
    }

    let description = "events"

    /// How long events gather before they are read together: one wake-up for many costs less CPU time.
    private static let gatheringTime: Duration = .milliseconds(20)

    /// The room from which on events may gather: it holds what 10,000 connections a second end in that time ten times.
    private static let roomForGathering = 10 * 200 * DestroyEvents.chargePerEvent

    /// What only the listening thread touches.
    private struct Source: ~Copyable {
        var events: DestroyEvents
        var batcher: FlowBatcher
    }

    private let source: Mutex<Source>
    private let gatheringMicroseconds: UInt32
    private let filter: FlowFilter
    private let exporter: FlowExporter
    private let logger: Logger
    private let statisticsStorage = Mutex(Statistics())
    private let isStopping = Atomic(false)

    init(
        events: consuming sending DestroyEvents, filter: FlowFilter, exporter: FlowExporter, logger: Logger
    ) {
        let canGather = events.receiveBuffer >= Self.roomForGathering
        gatheringMicroseconds = canGather ? UInt32(Self.gatheringTime / .microseconds(1)) : 0
        source = Mutex(Source(events: events, batcher: FlowBatcher(exporter: exporter, source: .destroy)))
        self.filter = filter
        self.exporter = exporter
        self.logger = logger
    }

    var statistics: Statistics { statisticsStorage.withLock { $0 } }

    func run() async throws {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        async let listening: Void = pool.runIfActive { self.listen() }
        try? await gracefulShutdown()
        isStopping.store(true, ordering: .relaxed)
        try await listening
        try await pool.shutdownGracefully()
    }

    /// Reads events until the daemon stops and none is left.
    private func listen() {
        var lastFlush = ContinuousClock.now
        while true {
            let received = receive()
            let cpuTime = ThreadClock.now()
            statisticsStorage.withLock { $0.cpuTime = cpuTime }
            if ContinuousClock.now - lastFlush > .seconds(1) {
                source.withLock { $0.batcher.flush() }
                lastFlush = ContinuousClock.now
            }
            if received > 0 {
                if received < 64 && gatheringMicroseconds > 0 { usleep(gatheringMicroseconds) }
            } else if isStopping.load(ordering: .relaxed) {
                source.withLock { $0.batcher.flush() }
                return
            }
        }
    }

    /// Takes the events that wait, and waits for one where there is none.
    ///
    /// - Returns: Their number.
    private func receive() -> Int {
        var batch = Statistics()
        let observedAt = UInt64(WallClock.now().milliseconds)
        do {
            let received = try source.withLock { source in
                try source.events.receive { flow in take(flow, observedAt, &source.batcher, &batch) }
            }
            batch.events = UInt64(received.events)
            batch.overruns = UInt64(received.overruns)
            batch.malformedEvents = UInt64(received.malformedEvents)
        } catch {
            logger.error("conntrack events cannot be read", metadata: ["error": "\(error)"])
            // It does not end at once and fill the log.
            usleep(1_000_000)
        }
        if batch.overruns > 0 {
            logger.error(
                """
                the kernel dropped conntrack events because the socket's buffer was full: the last bytes of some \
                connections are lost; raise EVENT_BUFFER_BYTES
                """)
        }
        let seen = batch
        statisticsStorage.withLock { $0.add(seen) }
        return Int(seen.events)
    }

    private func take(
        _ flow: Flow, _ observedAt: UInt64, _ batcher: inout FlowBatcher, _ batch: inout Statistics
    ) {
        if let reason = filter.reasonToIgnore(flow) {
            batch.ignored[reason, default: 0] += 1
            return
        }
        guard exporter.hasRoomForEvents else { return batch.lost.add(flow) }
        batcher.append(flow, observedAtMilliseconds: observedAt)
    }
}

extension EventService.Statistics {
    fileprivate mutating func add(_ other: EventService.Statistics) {
        events += other.events
        ignored.merge(other.ignored, uniquingKeysWith: +)
        lost = lost + other.lost
        overruns += other.overruns
        malformedEvents += other.malformedEvents
    }
}
