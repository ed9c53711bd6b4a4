// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Foundation
public import Logging
import Retry
import Synchronization

/// Sends blocks to ClickHouse from threads of its own, each with one connection, and tries until ClickHouse has them.
public final class Inserter: Sendable {
    /// How blocks are sent, and how many may wait.
    public struct Configuration: Sendable {
        /// Where to.
        public var client: ClickHouseClient.Configuration
        /// Inserts at the same time.
        public var workers: Int
        /// Rows that may wait or be under way before ``Inserter`` reports pressure.
        public var maximumQueuedRows: Int

        /// Makes a configuration of its parts.
        public init(client: ClickHouseClient.Configuration, workers: Int = 4, maximumQueuedRows: Int = 1_000_000) {
            self.client = client
            self.workers = workers
            self.maximumQueuedRows = maximumQueuedRows
        }
    }

    /// What has become of the blocks so far.
    public struct Statistics: Equatable, Sendable {
        /// Blocks that ClickHouse has.
        public var insertedBlocks: UInt64 = 0
        /// Rows that ClickHouse has.
        public var insertedRows: UInt64 = 0
        /// Network bytes that those rows report.
        public var insertedReportedBytes: UInt64 = 0
        /// Attempts that failed, by ``ClickHouseError/reason``. Each is followed by another.
        public var failedAttempts: [String: UInt64] = [:]
        /// Rows that wait or are under way.
        public var queuedRows = 0
        /// Why the last attempt failed, nil after a success.
        public var lastError: String?

        /// Nothing has been sent.
        public init() {}
    }

    private struct Job: Sendable {
        let block: FlowBlock
        let completion: @Sendable () -> Void
    }

    private struct State {
        var queue: Deque<Job> = []
        var isUnderPressure = false
        var statistics = Statistics()
    }

    private let configuration: Configuration
    private let schema: TableSchema
    private let logger: Logger
    private let onPressure: @Sendable (Bool) -> Void
    private let state = Mutex(State())
    private let available = DispatchSemaphore(value: 0)
    private let isAbandoned = Atomic(false)

    /// Makes an inserter and starts its threads.
    ///
    /// - Parameters:
    ///   - configuration: How blocks are sent, and how many may wait.
    ///   - schema: The table's columns.
    ///   - logger: For failures and recoveries.
    ///   - onPressure: Called with true when the bound on waiting rows is passed, and with false when half of it is free
    ///     again; from any thread.
    public init(
        configuration: Configuration, schema: TableSchema, logger: Logger,
        onPressure: @escaping @Sendable (Bool) -> Void
    ) {
        self.configuration = configuration
        self.schema = schema
        self.logger = logger
        self.onPressure = onPressure
        for number in 0..<configuration.workers {
            let thread = Thread { self.work() }
            thread.name = "insert-\(number)"
            thread.start()
        }
    }

    /// What has become of the blocks so far.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// Sends a block that has rows, as soon as a thread is free. `completion` is called when ClickHouse has it, from any
    /// thread.
    public func submit(_ block: FlowBlock, completion: @escaping @Sendable () -> Void) {
        let pressure = state.withLock { state -> Bool? in
            state.queue.append(Job(block: block, completion: completion))
            state.statistics.queuedRows += block.rows
            guard !state.isUnderPressure, state.statistics.queuedRows > configuration.maximumQueuedRows else {
                return nil
            }
            state.isUnderPressure = true
            return true
        }
        if let pressure { onPressure(pressure) }
        available.signal()
    }

    /// Waits until ClickHouse has every block, at most for `timeout`, and then gives up what is left.
    ///
    /// - Returns: The number of rows that were given up.
    public func drain(timeout: Duration) async throws -> Int {
        let deadline = ContinuousClock.now + timeout
        while statistics.queuedRows > 0 && ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(20))
        }
        isAbandoned.store(true, ordering: .releasing)
        for _ in 0..<configuration.workers { available.signal() }
        return statistics.queuedRows
    }

    private func work() {
        let client = ClickHouseClient(configuration.client)
        while true {
            available.wait()
            guard !isAbandoned.load(ordering: .acquiring) else { return }
            guard let job = state.withLock({ $0.queue.popFirst() }) else { continue }
            insert(job, over: client)
        }
    }

    private func insert(_ job: Job, over client: borrowing ClickHouseClient) {
        let data = job.block.encoded(for: schema)
        let settings = [
            // Always said: the server's default differs between releases.
            ("async_insert", "1"),
            // The answer comes when the rows are in the table, not when they are in a buffer.
            ("wait_for_async_insert", "1"),
            // The server's wait ends before the client's, so that the client hears of it.
            ("wait_for_async_insert_timeout", "\(max(1, configuration.client.timeoutMilliseconds / 1000 - 10))"),
            // Merging rows at insertion costs five times what the insertion does; the merges do it anyway.
            ("optimize_on_insert", "0"),
            // One token for the batch's whole life: where the table has a deduplication window, a batch is stored once.
            ("insert_deduplication_token", UUID().uuidString.lowercased()),
        ]
        var backoff = Backoff(initial: .milliseconds(200), maximum: .seconds(30))
        while !isAbandoned.load(ordering: .acquiring) {
            do {
                try client.insert(schema.insertStatement, data: data, settings: settings)
                return succeed(job)
            } catch {
                fail(job, error, &backoff)
            }
        }
    }

    private func succeed(_ job: Job) {
        let (recovered, pressure) = state.withLock { state -> (Bool, Bool?) in
            let recovered = state.statistics.lastError != nil
            state.statistics.lastError = nil
            state.statistics.insertedBlocks += 1
            state.statistics.insertedRows += UInt64(job.block.rows)
            state.statistics.insertedReportedBytes &+= job.block.reportedBytes
            state.statistics.queuedRows -= job.block.rows
            guard state.isUnderPressure, state.statistics.queuedRows <= configuration.maximumQueuedRows / 2 else {
                return (recovered, nil)
            }
            state.isUnderPressure = false
            return (recovered, false)
        }
        if recovered { logger.notice("ClickHouse takes rows again") }
        job.completion()
        if let pressure { onPressure(pressure) }
    }

    private func fail(_ job: Job, _ error: ClickHouseError, _ backoff: inout Backoff) {
        state.withLock {
            $0.statistics.failedAttempts[error.reason, default: 0] += 1
            $0.statistics.lastError = "\(error)"
        }
        let delay = backoff.next()
        logger.log(
            level: error.needsOperator ? .error : .warning,
            "an insert failed; its rows are kept and it is tried again",
            metadata: [
                "error": "\(error)", "rows": "\(job.block.rows)", "attempt": "\(backoff.failures)",
                "next_attempt_in": "\(delay)",
            ])
        sleepUnlessAbandoned(delay)
    }

    private func sleepUnlessAbandoned(_ delay: Duration) {
        let deadline = ContinuousClock.now + delay
        while ContinuousClock.now < deadline && !isAbandoned.load(ordering: .acquiring) {
            Thread.sleep(forTimeInterval: 0.05)
        }
    }
}
