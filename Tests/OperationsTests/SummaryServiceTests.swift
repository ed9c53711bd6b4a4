// SPDX-License-Identifier: Apache-2.0

import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import Operations

/// Collects log events.
private final class Recorder: Sendable {
    let lines = Mutex<[(level: Logger.Level, message: String, metadata: Logger.Metadata)]>([])

    var logger: Logger { Logger(label: "test") { _ in Handler(recorder: self) } }

    private struct Handler: LogHandler {
        let recorder: Recorder
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            recorder.lines.withLock { $0.append((event.level, "\(event.message)", event.metadata ?? [:])) }
        }
    }
}

@Suite struct SummaryServiceTests {
    @Test("a summary has the growth of totals, present values and means")
    func whatHasGrownIsToldAndWhatIsThereIsToldAsItIs() {
        let growth = SummaryService.growth(
            from: [
                ("flows", .total(10)), ("agents", .present(4)), ("insert_ms", .mean(sum: 100, of: 5)),
                ("quiet_ms", .mean(sum: 7, of: 1)),
            ],
            to: [
                ("flows", .total(17)), ("agents", .present(3)), ("insert_ms", .mean(sum: 190, of: 8)),
                ("quiet_ms", .mean(sum: 7, of: 1)),
            ])
        #expect(growth == ["flows": "7", "agents": "3", "insert_ms": "30"])
    }

    @Test("a summary is logged every interval and at the end")
    func aLineComesEveryIntervalWhateverHappensAndOneAtTheEnd() async throws {
        let recorder = Recorder()
        let count = Mutex(UInt64(0))
        let service = SummaryService(interval: .milliseconds(5), logger: recorder.logger) {
            [("flows", .total(count.withLock { $0 }))]
        }
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let group = ServiceGroup(configuration: ServiceGroupConfiguration(services: [service], logger: quiet))
        let running = Task { try await group.run() }
        try await eventually("three summaries without events are logged") { recorder.lines.withLock { $0.count } >= 3 }
        count.withLock { $0 = 42 }
        try await eventually("the summary with the flows is logged") {
            recorder.lines.withLock { $0.contains { $0.metadata == ["flows": "42"] } }
        }
        count.withLock { $0 += 5 }
        await group.triggerGracefulShutdown()
        try await running.value
        let lines = recorder.lines.withLock { $0 }
        #expect(lines.allSatisfy { $0.level == .info && $0.message == "summary" })
        // No flow is counted twice or left out.
        #expect(lines.reduce(0) { $0 + (UInt64($1.metadata["flows"]?.description ?? "") ?? 0) } == 47)
    }

    @Test("the last summary is logged at once on shutdown") func theLastLineDoesNotWaitForItsTime() async throws {
        let recorder = Recorder()
        let isRunning = Mutex(false)
        let service = SummaryService(interval: .seconds(86_400), logger: recorder.logger) {
            isRunning.withLock { $0 = true }
            return []
        }
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let group = ServiceGroup(configuration: ServiceGroupConfiguration(services: [service], logger: quiet))
        let running = Task { try await group.run() }
        try await eventually("the service is running") { isRunning.withLock { $0 } }
        await group.triggerGracefulShutdown()
        try await running.value
        #expect(recorder.lines.withLock { $0.count } == 1)
    }

    @Test("summaries accept counters that grow, stay or decrease")
    func summaries() {
        let numbers = EdgeNumbers.integers(UInt64.self)
        for (before, now) in zip(numbers, numbers.reversed()) {
            let summary = SummaryService.growth(
                from: [
                    ("total", .total(before)), ("present", .present(.min)), ("mean", .mean(sum: before, of: now)),
                ],
                to: [("total", .total(now)), ("present", .present(.max)), ("mean", .mean(sum: now, of: before))])
            #expect(summary["total"] == "\(now &- before)")
        }
    }
}
