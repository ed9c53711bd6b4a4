// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
public import FlowBlocks
public import FlowModel
import HTTPClient
public import Logging
import Synchronization

/// Sends blocks to ClickHouse from its own threads, each with its own connections, and retries until ClickHouse has
/// them.
///
/// A block's memory shrinks when a thread takes it from the queue: from then on, only its compressed bytes are kept.
public final class Inserter: BlockSink {
    /// The maximum number of consecutive batches that are rejected; after that, the table is presumed to be at fault,
    /// and rows are kept until an insert succeeds.
    static let maximumRejectionsInARow = 3

    /// The interval at which a warning about a lasting condition is repeated.
    private static let warningInterval = Duration.seconds(3600)

    /// The maximum number of checks, one per second, whether ClickHouse has a batch.
    private static let maximumQuestions = 30

    private struct Job: Sendable {
        var block: FlowBlock
        let delivery: BlockDelivery
    }

    /// A block taken from the queue, and its batches that are still to be sent.
    private struct Work: Sendable {
        let delivery: BlockDelivery
        let begun = ContinuousClock.now
        /// The batches to send, from last to first.
        var parts: [InsertBatch]
        /// State of the attempts on a part that was set aside.
        var attempts: Attempts?
        var siblings: [CrashCheck.Sibling] = []
    }

    /// State of the attempts on one batch.
    private struct Attempts: Sendable {
        var retry: InsertRetry
        var crash: CrashCheck
        var mayBeStored = false
        /// True if the last attempt was rejected for its size and an earlier one may have stored the batch.
        var isKeptWhole = false
        var setAsideSince: ContinuousClock.Instant?
    }

    private struct State {
        var queue: Deque<Job> = []
        /// Blocks with a part that was set aside and is due.
        var due: Deque<Work> = []
        /// The classes of views' failures for which a batch has reached its time limit, since the last batch that every
        /// view accepted.
        var lastingViewFailures: Set<FailureClass> = []
        var sizeLimit = SizeLimit()
        /// The time of the last warning, by subject.
        var warned: [String: ContinuousClock.Instant] = [:]
        var rejectionsInARow = 0
        var statistics = Statistics()
        var lastLogged: (reason: String, time: ContinuousClock.Instant)?
    }

    private let configuration: Configuration
    private let schema: TableSchema
    private let logger: Logger
    /// The account of the inserter's blocks.
    let account: SinkAccount
    /// One encoder for all threads: it is faster than ClickHouse accepts its output, and takes as much memory as
    /// several blocks.
    private let encoder = Mutex(BlockEncoder())
    /// The memory of a few bodies that are no longer needed, for reuse.
    private let spareBodies = Mutex<[[UInt8]]>([])
    private let deadLetters: DeadLetterDirectory?
    private let state: Mutex<State>
    private let available = DispatchSemaphore(value: 0)
    private let waits = RetryWaits()
    private let cancellation = HTTPCancellation()

    /// Makes an inserter and starts its threads.
    ///
    /// - Parameters:
    ///   - configuration: The inserter's settings.
    ///   - schema: The table.
    ///   - logger: Logs failures and recoveries.
    ///   - account: Counts the blocks.
    public init(configuration: Configuration, schema: TableSchema, logger: Logger, account: SinkAccount) {
        self.configuration = configuration
        self.schema = schema
        self.logger = logger
        self.account = account
        deadLetters = configuration.deadLetters.map(DeadLetterDirectory.init)
        var state = State()
        state.statistics.endpoints = configuration.client.endpoints.map { Statistics.Endpoint(url: $0) }
        self.state = Mutex(state)
        account.ledger.addPressureHandler { [weak self] isUnderPressure in
            if isUnderPressure { self?.forgetSpares() }
        }
        for number in 0..<configuration.workers {
            // Each worker blocks its serial queue, so each has a thread of its own.
            DispatchQueue(label: "insert-\(number)").async { self.work() }
        }
    }

    /// Statistics of inserts.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// The columns that the table has.
    public var form: BlockForm { schema.form }

    /// The blocks that wait or are in flight, and the problem that stops the inserter.
    public var load: SinkLoad {
        let held = account.statistics
        return SinkLoad(
            heldBytes: held.queuedBytes, oldestWait: held.oldestWait,
            problem: statistics.problem(oldestWait: held.oldestWait))
    }

    /// Sends a block that has rows, as soon as a thread is free. Rows that ClickHouse will never accept are rejected.
    public func submit(_ block: FlowBlock, settled: @escaping @Sendable (BlockSettlement) -> Void) {
        precondition(block.rows > 0, "a block without rows")
        let job = Job(block: block, delivery: account.deliver(block, settled: settled))
        state.withLock { $0.queue.append(job) }
        available.signal()
    }

    /// Removes batches from the blocks that no thread has taken yet.
    public func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
        state.withLock { state in
            var withdrawn: Set<BatchIdentity> = []
            for index in state.queue.indices {
                let delivery = state.queue[index].delivery
                withdrawn.formUnion(delivery.withdraw(batches, from: &state.queue[index].block))
            }
            state.queue.removeAll { $0.block.rows == 0 }
            return withdrawn
        }
    }

    /// Waits until every block is settled, for at most `timeout`, and then abandons the rest.
    ///
    /// - Returns: The number of abandoned rows. ClickHouse may have some of those that were in flight.
    public func drain(timeout: Duration) async -> Int {
        let deadline = ContinuousClock.now + timeout
        while account.statistics.queuedRows > 0 && ContinuousClock.now < deadline && !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(20))
        }
        let rest = account.statistics.queuedRows
        cancellation.cancel()
        waits.end()
        for _ in 0..<configuration.workers { available.signal() }
        return rest
    }

    /// Frees memory that is kept for later blocks.
    public func releaseMemory() {
        encoder.withLock { $0 = BlockEncoder() }
        forgetSpares()
        FlowBlock.releaseSpareMemory()
    }

    // MARK: - A thread's work

    private func work() {
        let client = ClickHouseClient(configuration.client, cancellation: cancellation)
        while true {
            available.wait()
            guard !cancellation.isCancelled else { return }
            guard let work = state.withLock({ $0.due.popFirst() }) ?? takeBlock() else { continue }
            insert(work, over: client)
        }
    }

    /// Sets a block aside for `duration`, so that its worker takes other blocks.
    private func setAside(_ work: Work, for duration: Duration) {
        work.delivery.markSetAside()
        DispatchQueue.global().asyncAfter(deadline: .now() + duration / .seconds(1)) {
            self.state.withLock { $0.due.append(work) }
            self.available.signal()
        }
    }

    /// Takes the next block from the queue and encodes it as a batch; returns nil if there is none.
    private func takeBlock() -> Work? {
        guard var job = state.withLock({ $0.queue.popFirst() }) else { return nil }
        let memoryBytes = job.block.memoryBytes
        let (body, rows) = encoder.withLock { encoder in
            defer {
                if account.ledger.isUnderPressure {
                    encoder = BlockEncoder()
                    forgetSpares()
                    FlowBlock.releaseSpareMemory()
                }
            }
            return encoder.encode(
                &job.block, for: schema, compression: configuration.compression,
                reusing: spareBodies.withLock { $0.popLast() } ?? [])
        }
        let batch = InsertBatch(
            job.block, rows: rows, body: body, into: schema, configuration.asyncInsert, configuration.viewErrors,
            timeoutMilliseconds: configuration.client.timeoutMilliseconds)
        job.delivery.adjustHeld(rows: rows - job.block.rows, bytes: body.bytes.count - memoryBytes)
        return Work(delivery: job.delivery, parts: [batch])
    }

    /// Sends a block, in parts if it is too large, until it is stored or rejected or a part is set aside.
    private func insert(_ work: consuming Work, over client: borrowing ClickHouseClient) {
        while var part = work.parts.popLast() {
            var admission = SizeLimit.Admission.send
            if work.attempts == nil, part.rows > 1 {
                admission = state.withLock { $0.sizeLimit.admit(part.body.bytes.count) }
            }
            if admission == .split {
                work.parts += split(part, of: work.delivery)
                continue
            }
            let outcome = send(&part, &work, over: client)
            if admission == .probe {
                state.withLock { $0.sizeLimit.endProbe(next: .now + configuration.sizeRefusals.probeInterval) }
            }
            switch outcome {
            case .settled: break
            case .tooLarge: work.parts += split(part, of: work.delivery)
            case .setAside(let duration):
                work.parts.append(part)
                return setAside(work, for: duration)
            case .ended: return
            }
        }
        work.delivery.settle()
    }

    /// The outcome of sending a batch.
    private enum Outcome {
        /// The batch is stored or rejected.
        case settled
        case tooLarge
        /// The batch is sent again after this time.
        case setAside(Duration)
        /// The inserter is shutting down.
        case ended
    }

    private func send(
        _ batch: inout InsertBatch, _ work: inout Work, over client: borrowing ClickHouseClient
    ) -> Outcome {
        let crash = CrashCheck(since: work.begun, siblings: work.siblings)
        var attempts =
            work.attempts
            ?? Attempts(
                retry: InsertRetry(
                    endpoints: configuration.client.endpoints.count, transient: configuration.retryDelays.backoff,
                    slow: configuration.slowRetryDelays.backoff),
                crash: crash)
        work.attempts = nil
        while !cancellation.isCancelled {
            let (endpoint, begin) = (client.endpoint, ContinuousClock.now)
            do {
                try client.insert(batch.statement, batch.body, settings: batch.settings)
                let duration = ContinuousClock.now - begin
                let server = client.lastServer
                guard let isMissing = isMissing(batch, attempts.crash, over: client) else { return .ended }
                guard isMissing else {
                    if attempts.crash.openSince == nil { work.siblings.append(.init(rows: batch.rows, server: server)) }
                    succeed(batch, work.delivery, at: endpoint, after: duration)
                    return .settled
                }
                batch.renewToken()
                attempts.crash = crash
                attempts.mayBeStored = false
            } catch {
                guard !cancellation.isCancelled else { return .ended }
                attempts.crash.note(error, of: begin)
                attempts.mayBeStored = attempts.mayBeStored || error.mayBeStored
                // With several endpoints, another one may have it.
                if attempts.isKeptWhole, error.isTooLarge, configuration.client.endpoints.count == 1,
                    attempts.crash.excludesStored(batch, in: schema, asking: client)
                {
                    attempts.mayBeStored = false
                }
                // Not checked on the first size rejection: an earlier attempt may still be in flight.
                attempts.isKeptWhole = attempts.mayBeStored && error.isTooLarge
                let step = fail(
                    error, batch, sizeChoice(batch, attempts), &attempts.retry, at: endpoint, after: .now - begin)
                log(error, batch, step)
                switch step {
                case .tryNextEndpoint:
                    client.moveOn()
                case .wait(let delay, let reason):
                    client.moveOn()
                    waits.wait(delay, reason)
                case .setAside(let delay, _):
                    client.moveOn()
                    attempts.setAsideSince = attempts.setAsideSince ?? .now
                    work.attempts = attempts
                    return .setAside(delay)
                case .split:
                    if attempts.mayBeStored { noteDoubling(of: batch) }
                    return .tooLarge
                case .ignoreViews:
                    batch.leaveViews()
                case .reject:
                    reject(batch, work.delivery, error)
                    return .settled
                }
            }
        }
        return .ended
    }

    /// Returns the options for a batch that a proxy rejects for its size.
    private func sizeChoice(_ batch: InsertBatch, _ attempts: Attempts) -> InsertRetry.Choices.Size {
        guard batch.rows > 1 else { return .reject }
        let isOverdue = attempts.setAsideSince.map { $0 + configuration.sizeRefusals.longestSetAside <= .now } ?? false
        return attempts.mayBeStored && !isOverdue ? .keep : .split
    }

    private func noteDoubling(of batch: InsertBatch) {
        state.withLock { $0.statistics.possiblyDoubled += batch.amount }
        logger.warning(
            "a batch that may be stored already is split and may be stored twice: a proxy still refuses its size",
            metadata: ["rows": "\(batch.rows)", "reported_bytes": "\(batch.reportedBytes)"])
    }

    /// Returns the halves of a batch, the first one last.
    private func split(_ batch: InsertBatch, of delivery: BlockDelivery) -> [InsertBatch] {
        // The lock serializes splits, since an uncompressed batch takes several megabytes.
        let (first, second) = encoder.withLock { _ in batch.halves() }
        delivery.adjustHeld(bytes: first.body.bytes.count + second.body.bytes.count - batch.body.bytes.count)
        return [second, first]
    }

    /// Whether ClickHouse reported a batch as stored but does not have it; nil if the inserter shuts down before that
    /// is known. If the check is impossible, ClickHouse's response is believed.
    private func isMissing(
        _ batch: InsertBatch, _ crash: CrashCheck, over client: borrowing ClickHouseClient
    ) -> Bool? {
        var problem = "it is still looking through its parts"
        for _ in 0..<Self.maximumQuestions {
            do {
                switch try crash.verdict(batch, in: schema, asking: client) {
                case .stored: return false
                case .missing:
                    noteRescue(of: batch)
                    return true
                case .loading: break
                }
            } catch {
                problem = "\(error)"
                if error.failureClass != .transient { break }
            }
            guard !cancellation.isCancelled else { return nil }
            waits.wait(.seconds(1), .asAsked)
        }
        logger.warning(
            "ClickHouse has started anew and is believed to have a batch that was under way: it cannot be asked",
            metadata: [
                "error": "\(problem)", "rows": "\(batch.rows)",
                "remedy": "GRANT SELECT ON system.parts and system.metrics",
            ])
        return false
    }

    private func noteRescue(of batch: InsertBatch) {
        state.withLock { $0.statistics.rescuedBatches += 1 }
        logger.warning(
            "ClickHouse has ended and kept a batch's token without its rows; they are sent under another token",
            metadata: ["rows": "\(batch.rows)", "reported_bytes": "\(batch.reportedBytes)"])
    }

    private func succeed(
        _ batch: InsertBatch, _ delivery: BlockDelivery, at endpoint: String, after duration: Duration
    ) {
        let hasRecovered = state.withLock { state in
            let hasRecovered = state.statistics.lastError != nil
            state.statistics.lastError = nil
            state.statistics.lastFailureClass = nil
            state.statistics.operatorError = nil
            state.lastLogged = nil
            state.rejectionsInARow = 0
            if !batch.ignoresViewErrors { state.lastingViewFailures = [] }
            state.sizeLimit.noteSuccess(of: batch.body.bytes.count)
            if batch.isWithoutViews { state.statistics.withoutViews += batch.amount }
            state.statistics.batchRows.add(UInt64(batch.rows))
            state.statistics.successfulAttemptDuration.add(duration)
            state.statistics.batchAge.add(.now - batch.begun)
            state.statistics.count(at: endpoint, error: nil)
            return hasRecovered
        }
        delivery.count(batch.amount, as: .stored, freeing: batch.body.bytes.count)
        if hasRecovered { logger.notice("ClickHouse takes rows again") }
        waits.succeeded()
        keepMemory(of: batch)
    }

    /// Counts a failure and decides the next step. No batch is rejected after ``maximumRejectionsInARow`` consecutive
    /// rejections: then the table must have changed.
    private func fail(
        _ error: ClickHouseError, _ batch: InsertBatch, _ size: InsertRetry.Choices.Size, _ retry: inout InsertRetry,
        at endpoint: String, after duration: Duration
    ) -> InsertRetry.Step {
        var generator = SystemRandomNumberGenerator()
        return state.withLock { state in
            state.statistics.failedAttempts[error.reason, default: 0] += 1
            state.statistics.failedAttemptsByClass[error.failureClass, default: 0] += 1
            state.statistics.failedAttemptDuration.add(duration)
            state.statistics.count(at: endpoint, error: error)
            let step = retry.failed(
                error,
                InsertRetry.Choices(
                    mayReject: state.rejectionsInARow < Self.maximumRejectionsInARow, size: size,
                    viewLimit: viewLimit(error, batch, state.lastingViewFailures)),
                using: &generator)
            switch step {
            case .split, .setAside:
                state.sizeLimit.noteRefusal(
                    of: batch.body.bytes.count, nextProbe: .now + configuration.sizeRefusals.probeInterval)
            case .ignoreViews: state.lastingViewFailures.insert(error.failureClass)
            case .tryNextEndpoint, .wait, .reject: break
            }
            // A step that continues without a delay is not a lasting failure.
            guard step != .split && step != .ignoreViews else { return step }
            state.statistics.lastError = "\(error)"
            state.statistics.lastFailureClass = error.failureClass
            switch step {
            case .wait(_, let reason), .setAside(_, let reason):
                state.statistics.operatorError = reason == .forSomebody ? "\(error)" : nil
            case .tryNextEndpoint, .split, .ignoreViews, .reject: break
            }
            return step
        }
    }

    /// Returns the time for which a batch is retried after failures of a view: zero if another batch has reached the
    /// limit already.
    private func viewLimit(_ error: ClickHouseError, _ batch: InsertBatch, _ lasting: Set<FailureClass>) -> Duration? {
        guard configuration.viewErrors == .automatic, !batch.ignoresViewErrors, error.isOfView else { return nil }
        return lasting.contains(error.failureClass) ? .zero : configuration.viewLimits[error.failureClass]
    }

    /// Counts a batch as rejected.
    private func reject(_ batch: InsertBatch, _ delivery: BlockDelivery, _ error: ClickHouseError) {
        state.withLock { $0.rejectionsInARow += 1 }
        delivery.count(batch.amount, as: .rejected(reason: error.reason), freeing: batch.body.bytes.count)
        var metadata: Logger.Metadata = [
            "error": "\(error)", "rows": "\(batch.rows)", "reported_bytes": "\(batch.reportedBytes)",
        ]
        if let deadLetters {
            do {
                metadata["file"] = "\(try deadLetters.store(batch) ?? "none: the quarantine directory is full")"
            } catch {
                metadata["file"] = "none: \(error)"
            }
        }
        logger.error("ClickHouse does not take a batch; its rows are counted as lost", metadata: metadata)
        keepMemory(of: batch)
    }

    /// Keeps the memory of a body that is no longer needed for reuse.
    private func keepMemory(of batch: InsertBatch) {
        guard !account.ledger.isUnderPressure else { return }
        spareBodies.withLock { if $0.count < 2 { $0.append(batch.body.bytes) } }
    }

    private func forgetSpares() { spareBodies.withLock { $0 = [] } }

    /// Logs a failed attempt; if many threads fail for the same reason, one line every ten seconds.
    private func log(_ error: ClickHouseError, _ batch: InsertBatch, _ step: InsertRetry.Step) {
        switch (step, error) {
        case (.ignoreViews, .failingView(let view, _, _)):
            return warn(
                "a materialized view fails; batches are stored in the table without it", about: view,
                [
                    "view": "\(view)", "error": "\(error)",
                    "remedy": "mend or drop the view, then fill in what it lacks",
                ])
        case (.split, _):
            return warn(
                "a batch is refused for its size and sent in halves", about: "size",
                ["error": "\(error)", "rows": "\(batch.rows)", "bytes": "\(batch.body.bytes.count)"])
        default: break
        }
        let isNew = state.withLock { state in
            if let last = state.lastLogged, last.reason == error.reason, last.time + .seconds(10) > .now {
                return false
            }
            state.lastLogged = (error.reason, .now)
            return true
        }
        guard isNew, step != .reject else { return }
        var metadata: Logger.Metadata = ["error": "\(error)", "rows": "\(batch.rows)"]
        switch step {
        case .wait(let delay, _), .setAside(let delay, _): metadata["next_attempt_in"] = "\(delay)"
        case .tryNextEndpoint, .split, .ignoreViews, .reject: break
        }
        logger.log(
            level: error.failureClass == .transient ? .warning : .error,
            "an insert failed; its rows are kept and it is tried again", metadata: metadata)
    }

    /// Logs a warning about a lasting condition, once per ``warningInterval``.
    private func warn(_ message: Logger.Message, about subject: String, _ metadata: Logger.Metadata) {
        let isDue = state.withLock { state in
            state.warned = state.warned.filter { $0.value + Self.warningInterval > .now }
            guard state.warned[subject] == nil else { return false }
            state.warned[subject] = .now
            return true
        }
        if isDue { logger.warning(message, metadata: metadata) }
    }
}

extension Inserter.Statistics {
    fileprivate mutating func count(at endpoint: String, error: ClickHouseError?) {
        guard let index = endpoints.firstIndex(where: { $0.url == endpoint }) else { return }
        endpoints[index].attempts += 1
        endpoints[index].failures += error == nil ? 0 : 1
        endpoints[index].lastError = error.map { "\($0)" }
    }
}
