// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc
package import Logging
import ServiceLifecycle
import Synchronization
import Threads

/// Receives the events of ended connections on a thread of its own.
package final class EventService: Service, CustomStringConvertible {
    /// Statistics of all events so far.
    package struct Statistics: Sendable {
        /// The events by their outcome.
        package var received: EventStatistics
        /// CPU time of the receiving thread.
        package var cpuTime: Duration

        /// Makes statistics from their parts; by default, nothing has been received.
        package init(received: EventStatistics = EventStatistics(), cpuTime: Duration = .zero) {
            self.received = received
            self.cpuTime = cpuTime
        }
    }

    /// The service's name in the log.
    package let description = "events"

    /// The time for which events gather before they are received together: fewer wake-ups cost less CPU time.
    private static let gatheringTime: Duration = .milliseconds(20)

    /// The maximum time for which the flow of an ended connection waits for others of its batch.
    private static let flushInterval: Duration = .seconds(1)

    /// The minimum capacity for gathering: ten times the events that 10,000 ending connections a second cause in
    /// ``gatheringTime``.
    private static let capacityForGathering = 10 * 200

    /// The maximum number of receives between two checks of the clock: 65,536 events.
    private static let maximumRounds = 512

    private let events: any ConnectionEvents
    private let batches: EventBatches
    private let gatheringMicroseconds: UInt32
    private let failurePause: Duration
    private let logger: Logger
    private let cpuTime = Mutex(Duration.zero)
    private let isStopping = Atomic(false)
    /// Notified when ``isStopping`` becomes true.
    private let stop = ChangeNotifier()

    /// - Parameters:
    ///   - events: The events to receive.
    ///   - batches: The batches to which the events' handler adds ended connections.
    ///   - failurePause: The pause after a failed receive. The error may persist: the pause keeps it from occupying a
    ///     core and from filling the log.
    ///   - logger: The logger for dropped events and errors of receiving.
    package init(
        events: any ConnectionEvents, batches: EventBatches, failurePause: Duration = .seconds(1), logger: Logger
    ) {
        let canGather = events.capacity >= Self.capacityForGathering
        gatheringMicroseconds = canGather ? UInt32(Self.gatheringTime / .microseconds(1)) : 0
        self.events = events
        self.batches = batches
        self.failurePause = failurePause
        self.logger = logger
    }

    /// The statistics so far.
    package var statistics: Statistics {
        Statistics(received: events.statistics, cpuTime: cpuTime.withLock { $0 })
    }

    /// Receives events until the daemon shuts down, and then the events still waiting.
    package func run() async throws {
        let thread = OwnedThread(name: "events")
        async let listening: Void = thread.run { self.listen() }
        try? await gracefulShutdown()
        isStopping.store(true, ordering: .releasing)
        stop.notify()
        events.interrupt()
        try await listening
    }

    /// Receives events until the daemon stops, and then the events still waiting.
    private func listen() {
        var lastFlush = ContinuousClock.now
        var overruns: UInt64 = 0
        while !isStopping.load(ordering: .acquiring) {
            let untilFlush = lastFlush + Self.flushInterval - .now
            events.wait(milliseconds: max(0, Int((untilFlush / .milliseconds(1)).rounded(.up))))
            // A dump that encounters many expired entries causes a burst of events, which is received without a pause.
            var received = receive()
            var rounds = 1
            while received == events.maximumReceived && rounds < Self.maximumRounds {
                received = receive()
                rounds += 1
            }
            report(overrunsSince: &overruns)
            cpuTime.withLock { $0 = ThreadClock.now() }
            if ContinuousClock.now - lastFlush >= Self.flushInterval {
                batches.flush()
                lastFlush = ContinuousClock.now
            }
            if received > 0 && received < 64 && gatheringMicroseconds > 0 { usleep(gatheringMicroseconds) }
        }
        // Connections may end faster than their events are received: the number that can wait now is the limit.
        var rest = events.capacity
        while rest > 0 {
            let received = receive()
            if received == 0 { break }
            rest -= received
        }
        batches.flush()
    }

    /// Receives waiting events.
    ///
    /// - Returns: The number of events received.
    private func receive() -> Int {
        do {
            return try events.receive()
        } catch {
            logger.error("cannot receive \(events.name)", metadata: ["error": "\(error)"])
            stop.block(atMost: failurePause) { isStopping.load(ordering: .acquiring) }
            return 0
        }
    }

    private func report(overrunsSince last: inout UInt64) {
        let statistics = events.statistics
        guard statistics.overruns > last else { return }
        last = statistics.overruns
        logger.error(
            """
            the kernel dropped \(events.name) because the receive buffer was full: the last bytes of their \
            connections are lost; raise EVENT_BUFFER_BYTES
            """,
            metadata: [
                "dropped_events": "\(statistics.droppedEvents)",
                "estimated_bytes": "\(statistics.droppedBytesEstimate)",
            ])
    }
}
