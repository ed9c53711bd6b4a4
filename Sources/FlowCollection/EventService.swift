// SPDX-License-Identifier: Apache-2.0

package import FlowExport
import FlowModel
import Glibc
package import Logging
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Receives the events of ended connections, on a thread of its own.
package final class EventService: Service, CustomStringConvertible {
    /// What has been received so far.
    package struct Statistics: Sendable {
        /// What has become of the events.
        package var received: EventStatistics
        /// Flows that no longer fitted below the bound on unacknowledged batches.
        package var lost: FlowAmount
        /// CPU time of the thread that listens.
        package var cpuTime: Duration

        /// Makes statistics of their parts; nothing has been received unless told.
        package init(
            received: EventStatistics = EventStatistics(), lost: FlowAmount = FlowAmount(), cpuTime: Duration = .zero
        ) {
            self.received = received
            self.lost = lost
            self.cpuTime = cpuTime
        }
    }

    /// The service's name in the log.
    package let description = "events"

    /// How long events gather before they are read together: one wake-up for many costs less CPU time.
    private static let gatheringTime: Duration = .milliseconds(20)

    /// The capacity from which on events may gather: ten times what 10,000 connections a second end in that time.
    private static let capacityForGathering = 10 * 200

    /// The most receives between two looks at the clock: 65,536 events.
    private static let maximumRounds = 512

    private let events: any ConnectionEvents
    private let batches: EventBatches
    private let gatheringMicroseconds: UInt32
    private let logger: Logger
    private let cpuTime = Mutex(Duration.zero)
    private let isStopping = Atomic(false)

    /// - Parameters:
    ///   - events: What to receive.
    ///   - batches: What the events' handler puts ended connections into.
    ///   - logger: For events that are dropped or cannot be received.
    package init(events: any ConnectionEvents, batches: EventBatches, logger: Logger) {
        let canGather = events.capacity >= Self.capacityForGathering
        gatheringMicroseconds = canGather ? UInt32(Self.gatheringTime / .microseconds(1)) : 0
        self.events = events
        self.batches = batches
        self.logger = logger
    }

    /// What has been received so far.
    package var statistics: Statistics {
        Statistics(received: events.statistics, lost: batches.lost, cpuTime: cpuTime.withLock { $0 })
    }

    /// Receives events until the daemon shuts down, and then those that have come by then.
    package func run() async throws {
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
            while received == events.maximumReceived && rounds < Self.maximumRounds {
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
        // Where connections end faster than this, as many as can wait at this moment are the bound.
        var rest = events.capacity
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
            logger.error("cannot receive \(events.name)", metadata: ["error": "\(error)"])
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
            the kernel dropped \(events.name) because the socket's buffer was full: the last bytes of their \
            connections are lost; raise EVENT_BUFFER_BYTES
            """,
            metadata: [
                "dropped_events": "\(statistics.droppedEvents)",
                "estimated_bytes": "\(statistics.droppedBytesEstimate)",
            ])
    }
}
