// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing
import Threads

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Events that never arrive: a wait ends only with an interruption.
private final class SilentEvents: ConnectionEvents {
    let name = "silent events"
    let capacity = 1_000
    let maximumReceived = 2
    let statistics = EventStatistics()
    let counters: [ReaderCounter] = []
    let problems: [SelfCheck.Condition: String] = [:]
    /// The calls of ``wait(milliseconds:)`` and of ``receive()``.
    let waits = Atomic(0)
    let receives = Atomic(0)
    /// Whether receiving fails, immediately.
    private let fails: Bool
    private let isInterrupted = Atomic(false)
    private let interruption = ChangeNotifier()

    init(fails: Bool = false) { self.fails = fails }

    func wait(milliseconds: Int) {
        waits.add(1, ordering: .relaxed)
        guard !fails else { return }
        interruption.block(atMost: .seconds(36_000)) { isInterrupted.load(ordering: .relaxed) }
    }

    func interrupt() {
        isInterrupted.store(true, ordering: .relaxed)
        interruption.notify()
    }

    func receive() throws -> Int {
        receives.add(1, ordering: .relaxed)
        guard fails else { return 0 }
        throw TestEnvironmentError("no events can be received")
    }
}

@Suite struct EventServiceTests {
    private func run(_ events: SilentEvents, _ body: () async throws -> Void) async throws {
        let service = EventService(
            events: events, batches: EventBatches(exporter: TestExporter.make()), failurePause: .seconds(36_000),
            logger: quiet)
        let group = ServiceGroup(services: [service], logger: quiet)
        async let running: Void = group.run()
        try await body()
        await group.triggerGracefulShutdown()
        try await running
    }

    @Test("a shutdown ends the wait for events, and the events still waiting are received", .timeLimit(.minutes(5)))
    func shutdownWhileWaiting() async throws {
        let events = SilentEvents()
        try await run(events) {
            try await eventually("the service waits") { events.waits.load(ordering: .relaxed) == 1 }
        }
        #expect(events.waits.load(ordering: .relaxed) == 1)
        // One after the wait, and one for the events still waiting.
        #expect(events.receives.load(ordering: .relaxed) == 2)
    }

    @Test("a failed receive is repeated after a pause, which a shutdown ends", .timeLimit(.minutes(5)))
    func shutdownWhilePausing() async throws {
        let events = SilentEvents(fails: true)
        try await run(events) {
            try await eventually("a receive has failed") { events.receives.load(ordering: .relaxed) == 1 }
        }
        #expect(events.receives.load(ordering: .relaxed) == 2)
    }
}
