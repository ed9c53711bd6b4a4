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

/// Puts what ended connections had counted into batches.
final class EventBatches: Sendable {
    private struct Batches: ~Copyable {
        var batcher: FlowBatcher
        /// Flows that no longer fitted below the bound on unacknowledged batches.
        var lost = FlowAmount()
    }

    private let exporter: FlowExporter
    private let batches: Mutex<Batches>

    init(exporter: FlowExporter) {
        self.exporter = exporter
        batches = Mutex(Batches(batcher: FlowBatcher(exporter: exporter, source: .destroy)))
    }

    /// Flows that no longer fitted below the bound on unacknowledged batches.
    var lost: FlowAmount { batches.withLock { $0.lost } }

    /// Adds flows whose events have just been received.
    func append(_ flows: [Flow]) {
        let observedAt = UInt64(WallClock.now().milliseconds)
        batches.withLock { batches in
            for flow in flows {
                if exporter.hasRoomForEvents {
                    batches.batcher.append(flow, observedAtMilliseconds: observedAt)
                } else {
                    batches.lost.add(flow)
                }
            }
        }
    }

    /// Hands on what has been gathered.
    func flush() { batches.withLock { $0.batcher.flush() } }
}

/// Receives the events of ended connections, on a thread of its own.
final class EventService: Service, CustomStringConvertible {
    /// What has been received so far.
    struct Statistics: Sendable {
        var received = DestroyEvents.Statistics()
        /// Flows that no longer fitted below the bound on unacknowledged batches.
        var lost = FlowAmount()
        /// CPU time of the thread that listens.
        var cpuTime = Duration.zero
    }

    let description = "events"

    /// How long events gather before they are read together: one wake-up for many costs less CPU time.
    private static let gatheringTime: Duration = .milliseconds(20)

    /// The room from which on events may gather: it holds what 10,000 connections a second end in that time ten times.
    private static let roomForGathering = 10 * 200 * DestroyEvents.chargePerEvent

    /// The most receives between two looks at the clock: 65,536 events.
    private static let maximumRounds = 512

    private let events: DestroyEvents
    private let batches: EventBatches
    private let gatheringMicroseconds: UInt32
    private let logger: Logger
    private let cpuTime = Mutex(Duration.zero)
    private let isStopping = Atomic(false)

    init(events: DestroyEvents, batches: EventBatches, logger: Logger) {
        let canGather = events.receiveBuffer >= Self.roomForGathering
        gatheringMicroseconds = canGather ? UInt32(Self.gatheringTime / .microseconds(1)) : 0
        self.events = events
        self.batches = batches
        self.logger = logger
    }

    var statistics: Statistics {
        Statistics(received: events.statistics, lost: batches.lost, cpuTime: cpuTime.withLock { $0 })
    }

    func run() async throws {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        async let listening: Void = pool.runIfActive { self.listen() }
        try? await gracefulShutdown()
        isStopping.store(true, ordering: .relaxed)
        try await listening
        try await pool.shutdownGracefully()
    }

    /// Receives events until the daemon stops, and then those that have come by then.
    private func listen() {
        var lastFlush = ContinuousClock.now
        var overruns: UInt64 = 0
        while !isStopping.load(ordering: .relaxed) {
            events.wait(milliseconds: 200)
            // A burst, as a dump that comes past many expired entries makes one, is taken without looking up.
            var received = receive()
            var rounds = 1
            while received == DestroyEvents.maximumReceived && rounds < Self.maximumRounds {
                received = receive()
                rounds += 1
            }
            report(overrunsSince: &overruns)
            cpuTime.withLock { $0 = ThreadClock.now() }
            if ContinuousClock.now - lastFlush > .seconds(1) {
                batches.flush()
                lastFlush = ContinuousClock.now
            }
            if received > 0 && received < 64 && gatheringMicroseconds > 0 { usleep(gatheringMicroseconds) }
        }
        // Where connections end faster than this, the socket's buffer at this moment is the bound.
        var rest = events.receiveBuffer / DestroyEvents.chargePerEvent
        while rest > 0 {
            let received = receive()
            if received == 0 { break }
            rest -= received
        }
        batches.flush()
    }

    /// Takes the events that wait.
    ///
    /// - Returns: Their number.
    private func receive() -> Int {
        do {
            return try events.receive()
        } catch {
            logger.error("cannot receive conntrack events", metadata: ["error": "\(error)"])
            // The error may persist: neither a core nor the log is to be filled by it.
            usleep(1_000_000)
            return 0
        }
    }

    private func report(overrunsSince last: inout UInt64) {
        let statistics = events.statistics
        guard statistics.overruns > last else { return }
        last = statistics.overruns
        logger.error(
            """
            the kernel dropped conntrack events because the socket's buffer was full: the last bytes of their \
            connections are lost; raise EVENT_BUFFER_BYTES
            """,
            metadata: [
                "dropped_events": "\(statistics.droppedEvents)",
                "estimated_bytes": "\(statistics.droppedBytesEstimate)",
            ])
    }
}
