// SPDX-License-Identifier: Apache-2.0

import DequeModule
import FlowBlocks
import FlowModel
import LogLimits

/// The blocks that wait for ClickHouse or are in flight, and the decisions about them: what each worker does next, when
/// a batch is retried, split, set aside or rejected, and when a block is settled.
///
/// Each worker carries out one action at a time and reports its end as an event; every event returns the next step.
/// The queue has no I/O and no clock: events carry the time. Workers are numbers from 0. An event that does not match the
/// worker's last action is a programming error.
///
/// Blocks are taken in the order in which they were submitted; those that were set aside and are due go first. Each
/// block is settled once, or withdrawn before a worker takes it. After ``stop()``, a worker ends with its next event.
///
/// Other servers may fence the token of a block that is announced to agents, so that ClickHouse drops the block although
/// it reports it as stored. The queue therefore asks whether a block was fenced, if an agent of the block has left or the
/// block is so old that agents may have given this server up. A block that was fenced is void.
struct InsertQueue: Sendable {
    typealias Instant = ContinuousClock.Instant

    /// A block that no worker has taken.
    struct Waiting: Sendable {
        var block: FlowBlock
        let delivery: BlockDelivery
        /// The wall clock when the block was submitted, in seconds since the Unix epoch.
        let submitted: UInt32
        /// The agents' batches of a block that is announced to agents; empty if it is not.
        let announced: Set<BatchIdentity>

        init(_ block: FlowBlock, _ delivery: BlockDelivery, submitted: UInt32) {
            self.block = block
            self.delivery = delivery
            self.submitted = submitted
            announced = block.token == nil ? [] : block.batchIdentities.subtracting(block.unannounced)
        }
    }

    /// The maximum number of checks, one per second, whether ClickHouse has a batch.
    private static let maximumQuestions = 30
    /// The time in seconds since a block's announcement in which no other server fences it: others wait longer
    /// (`DoubtSettlement`).
    static let safeAge = 4

    private let configuration: Inserter.Configuration
    /// Whether other servers can fence blocks.
    private let hasFences: Bool
    /// Blocks that no worker has taken, in the order of their submission.
    private var waiting: Deque<Waiting> = []
    /// Blocks with a part that was set aside and is due.
    private var due: Deque<InsertJob> = []
    /// Blocks with a part that is set aside, by the numbers of their waits.
    private var setAside: [UInt64: InsertJob] = [:]
    private var setAsideWaits: UInt64 = 0
    /// The block of each worker.
    private var jobs: [InsertJob?]
    private var waits = RetryWaits()
    private var sizeLimit = SizeLimit()
    /// The classes of views' failures for which a batch has reached its time limit, since the last batch that every
    /// view accepted.
    private var lastingViewFailures: Set<FailureClass> = []
    private var rejectionsInARow = 0
    /// A limit on the warnings about a lasting condition, by subject.
    private var warningLimit = LogLimit<String>(per: .seconds(3600))
    /// A limit on the lines about failures, by reason, until an insert succeeds.
    private var failureLimit = LogLimit<String>(per: .seconds(10))
    private var isStopped = false

    /// Statistics of inserts.
    private(set) var statistics = Inserter.Statistics()
    /// The blocks that are neither settled nor withdrawn.
    private(set) var unsettledBlocks = 0

    /// Makes a queue without blocks, whose workers are idle.
    ///
    /// - Parameters:
    ///   - configuration: The inserter's settings.
    ///   - hasFences: Whether fences can settle the fate of the table's blocks.
    init(_ configuration: Inserter.Configuration, hasFences: Bool) {
        self.configuration = configuration
        self.hasFences = hasFences
        jobs = Array(repeating: nil, count: configuration.workers)
        statistics.endpoints = configuration.client.endpoints.map { Inserter.Statistics.Endpoint(url: $0) }
    }

    // MARK: - Events of the callers

    /// Adds a block that has rows; `second` is the wall clock in seconds since the Unix epoch. A worker must be woken
    /// for it.
    mutating func submit(_ block: FlowBlock, _ delivery: BlockDelivery, at second: UInt32) {
        waiting.append(Waiting(block, delivery, submitted: second))
        unsettledBlocks += 1
    }

    /// Removes batches of agents that have left from the blocks that no worker has taken. The caller counts the removals
    /// in the account before the next event.
    ///
    /// A block that is announced keeps the batches of agents that know it: they ask another server for the fate of the
    /// whole block.
    mutating func withdraw(_ batches: Set<BatchIdentity>) -> [(delivery: BlockDelivery, withdrawal: BlockWithdrawal)] {
        var withdrawals: [(BlockDelivery, BlockWithdrawal)] = []
        for index in waiting.indices {
            let removable = batches.subtracting(waiting[index].announced)
            guard let withdrawal = BlockWithdrawal(removable, from: &waiting[index].block) else { continue }
            withdrawals.append((waiting[index].delivery, withdrawal))
            if withdrawal.isComplete { unsettledBlocks -= 1 }
        }
        waiting.removeAll { $0.block.rows == 0 }
        return withdrawals
    }

    /// Makes a block due that was set aside. A worker must be woken for it.
    mutating func setAsideEnded(_ number: UInt64) {
        if let job = setAside.removeValue(forKey: number) { due.append(job) }
    }

    /// Abandons all blocks. All workers must be woken; each ends with its next event, except that a batch whose
    /// success is reported still counts as stored.
    mutating func stop() { isStopped = true }

    // MARK: - Events of the workers

    /// Gives a worker that has no block the next one.
    mutating func workerFreed(_ worker: Int, at now: Instant) -> InsertStep {
        precondition(jobs[worker] == nil, "worker \(worker) has a block")
        guard !isStopped else { return InsertStep(.end) }
        if let job = due.popFirst() { return advance(job, of: worker, isResumed: true, at: now) }
        guard let next = waiting.popFirst() else { return InsertStep(.idle) }
        jobs[worker] = InsertJob(next, retry: newRetry, at: now)
        var step = InsertStep(.encode, next.delivery)
        step.block = next.block
        return step
    }

    /// Handles the encoded block of a worker.
    mutating func blockEncoded(_ worker: Int, as batch: InsertBatch, at now: Instant) -> InsertStep {
        var job = endAction(.encoding, of: worker)
        job.parts = [batch]
        let growth = (rows: batch.rows - job.size.rows, bytes: batch.body.bytes.count - job.size.bytes)
        var step = advance(job, of: worker, at: now)
        step.growth = growth
        return step
    }

    /// Handles the success of an attempt.
    mutating func insertSucceeded(_ worker: Int, _ success: InsertJob.Success, at now: Instant) -> InsertStep {
        var job = endAction(.inserting, of: worker)
        let mayBeFenced = mayBeFenced(job, success, at: now)
        // After an attempt with an unknown outcome, ClickHouse may have the batch's token without the rows.
        guard mayBeFenced || job.attempts.crash.openSince != nil else {
            return store(job, of: worker, success, at: now)
        }
        guard !isStopped else { return InsertStep(.end) }
        job.attempts.verification = InsertJob.Verification(success: success, mayBeFenced: mayBeFenced)
        return verify(job, of: worker)
    }

    /// Handles the result of the question whether ClickHouse has a batch that it reports as stored. If ClickHouse
    /// cannot be asked, its report is believed.
    mutating func batchVerified(
        _ worker: Int, _ result: Result<StoredCheck.Verdict, ClickHouseError>, at now: Instant
    ) -> InsertStep {
        var job = endAction(.verifying, of: worker)
        guard let verification = job.attempts.verification else { preconditionFailure("nothing was asked") }
        switch result {
        case .success(.stored): return store(job, of: worker, verification.success, at: now)
        case .success(.missing): return rescue(job, of: worker)
        case .success(.fenced): return void(job, of: worker, verification.success, at: now)
        case .success(.loading): break
        case .failure(let error):
            job.attempts.verification?.problem = "\(error)"
            if error.failureClass != .transient { return believe(job, of: worker, at: now) }
        }
        guard !isStopped else { return InsertStep(.end) }
        return wait(.seconds(1), .asAsked, job, of: worker, at: now)
    }

    /// Handles the failure of an attempt.
    mutating func insertFailed(
        _ worker: Int, _ failure: InsertJob.Failure, at now: Instant, using generator: inout some RandomNumberGenerator
    ) -> InsertStep {
        var job = endAction(.inserting, of: worker)
        guard !isStopped else { return InsertStep(.end) }
        job.attempts.crash.note(failure.error, of: failure.begun)
        job.attempts.mayBeStored = job.attempts.mayBeStored || failure.error.mayBeStored
        // With several endpoints, another one may have it.
        if job.attempts.isKeptWhole, failure.error.isTooLarge, configuration.client.endpoints.count == 1 {
            job.attempts.failure = failure
            return begin(.searchPart(job.batch, job.attempts.crash), .searching, job, of: worker)
        }
        return retry(job, of: worker, after: failure, at: now, using: &generator)
    }

    /// Handles the result of the search for an earlier attempt's part; `isExcluded` is true if no attempt has stored
    /// the batch.
    mutating func partSearched(
        _ worker: Int, isExcluded: Bool, at now: Instant, using generator: inout some RandomNumberGenerator
    ) -> InsertStep {
        var job = endAction(.searching, of: worker)
        guard !isStopped else { return InsertStep(.end) }
        guard let failure = job.attempts.failure.take() else { preconditionFailure("no attempt has failed") }
        if isExcluded { job.attempts.mayBeStored = false }
        return retry(job, of: worker, after: failure, at: now, using: &generator)
    }

    /// Handles the halves of a batch.
    mutating func batchHalved(
        _ worker: Int, into first: InsertBatch, _ second: InsertBatch, at now: Instant
    ) -> InsertStep {
        var job = endAction(.halving, of: worker)
        let whole = job.parts.removeLast()
        job.parts += [second, first]
        var step = advance(job, of: worker, at: now)
        step.growth = (0, first.body.bytes.count + second.body.bytes.count - whole.body.bytes.count)
        return step
    }

    /// Handles the end of a wait: its time has come, or the worker was woken.
    mutating func waitEnded(_ worker: Int, at now: Instant) -> InsertStep {
        var job = endAction(.waiting, of: worker)
        guard !isStopped else { return InsertStep(.end) }
        if let next = waits.end(worker, at: now) { return begin(.wait(until: next), .waiting, job, of: worker) }
        guard let verification = job.attempts.verification else { return insert(job, of: worker) }
        guard verification.questions < Self.maximumQuestions else { return believe(job, of: worker, at: now) }
        job.attempts.verification?.questions += 1
        return verify(job, of: worker)
    }

    /// Handles the settlement of a worker's block.
    mutating func blockSettled(_ worker: Int) -> InsertStep {
        _ = endAction(.settling, of: worker)
        unsettledBlocks -= 1
        return InsertStep(isStopped ? .end : .idle)
    }

    // MARK: - Steps

    /// Takes the job of a worker that has carried out an action.
    private mutating func endAction(_ phase: InsertJob.Phase, of worker: Int) -> InsertJob {
        guard let job = jobs[worker].take(), job.phase == phase else {
            preconditionFailure("worker \(worker) was not \(phase)")
        }
        return job
    }

    /// Gives a worker its next action.
    private mutating func begin(
        _ action: InsertStep.Action, _ phase: InsertJob.Phase, _ job: consuming InsertJob, of worker: Int
    ) -> InsertStep {
        job.phase = phase
        let step = InsertStep(action, job.delivery)
        jobs[worker] = job
        return step
    }

    /// Continues with the batch that is sent next, or settles the block if there is none.
    private mutating func advance(
        _ job: consuming InsertJob, of worker: Int, isResumed: Bool = false, at now: Instant
    ) -> InsertStep {
        guard !job.parts.isEmpty else { return begin(.settle, .settling, job, of: worker) }
        guard !isStopped else { return InsertStep(.end, job.delivery) }
        guard !isResumed else { return insert(job, of: worker) }
        job.attempts = InsertJob.Attempts(retry: newRetry, crash: job.crashCheck)
        if job.batch.rows > 1 {
            switch sizeLimit.admit(job.batch.body.bytes.count, at: now) {
            case .split: return halve(job, of: worker)
            case .probe: job.attempts.isProbe = true
            case .send: break
            }
        }
        return insert(job, of: worker)
    }

    private mutating func insert(_ job: consuming InsertJob, of worker: Int) -> InsertStep {
        begin(.insert(job.batch), .inserting, job, of: worker)
    }

    private mutating func halve(_ job: consuming InsertJob, of worker: Int) -> InsertStep {
        begin(.halve(job.batch), .halving, job, of: worker)
    }

    private mutating func verify(_ job: consuming InsertJob, of worker: Int) -> InsertStep {
        begin(.verify(job.batch, job.storedCheck), .verifying, job, of: worker)
    }

    /// Returns whether another server may have fenced a batch that ClickHouse has just reported as stored. If it has not
    /// yet, it cannot any more. Both clocks count, because a machine that was suspended stops one of them.
    private func mayBeFenced(_ job: InsertJob, _ success: InsertJob.Success, at now: Instant) -> Bool {
        guard hasFences, job.batch.isAnnounced else { return false }
        return success.isAtRisk || now - job.announcedAt > .seconds(Self.safeAge)
            || Int(success.second) - Int(job.submitted) > Self.safeAge
    }

    private mutating func wait(
        _ duration: Duration, _ reason: InsertRetry.Wait, _ job: consuming InsertJob, of worker: Int, at now: Instant
    ) -> InsertStep {
        let time = waits.begin(worker, duration, reason, at: now)
        return begin(.wait(until: time), .waiting, job, of: worker)
    }

    private var newRetry: InsertRetry {
        InsertRetry(
            endpoints: configuration.client.endpoints.count, transient: configuration.backoff,
            slow: configuration.slowBackoff)
    }

    // MARK: - Successes

    /// Counts the batch as stored.
    private mutating func store(
        _ job: consuming InsertJob, of worker: Int, _ success: InsertJob.Success, at now: Instant
    ) -> InsertStep {
        let batch = job.batch
        if batch.isWithoutViews { statistics.withoutViews += batch.amount }
        statistics.batchRows.add(UInt64(batch.rows))
        statistics.batchAge.add(now - batch.begun)
        return endBatch(job, of: worker, .stored(batch), success, at: now)
    }

    /// Counts the batch as void: another server has fenced it.
    private mutating func void(
        _ job: consuming InsertJob, of worker: Int, _ success: InsertJob.Success, at now: Instant
    ) -> InsertStep {
        let batch = job.batch
        let batches = job.announced
        statistics.voidBlocks += 1
        var step = endBatch(job, of: worker, .void(batch, of: batches), success, at: now)
        if warningLimit.admit("fence", at: now) != nil { step.notices.append(.fenced(batch)) }
        return step
    }

    /// Ends the batch that ClickHouse has accepted.
    private mutating func endBatch(
        _ job: consuming InsertJob, of worker: Int, _ outcome: InsertStep.Outcome, _ success: InsertJob.Success,
        at now: Instant
    ) -> InsertStep {
        let batch = job.parts.removeLast()
        if !job.parts.isEmpty, job.attempts.crash.openSince == nil {
            job.siblings.append(CrashCheck.Sibling(rows: batch.rows, server: success.server))
        }
        endProbe(of: &job, at: now)
        let hasRecovered = statistics.lastError != nil
        (statistics.lastError, statistics.lastFailureClass, statistics.operatorError) = (nil, nil, nil)
        failureLimit.reset()
        rejectionsInARow = 0
        if !batch.ignoresViewErrors { lastingViewFailures = [] }
        sizeLimit.noteSuccess(of: batch.body.bytes.count)
        statistics.successfulAttemptDuration.add(success.duration)
        statistics.countAttempt(at: success.endpoint, error: nil)
        var step = advance(job, of: worker, at: now)
        step.outcome = outcome
        step.woken = waits.recordSuccess()
        if hasRecovered { step.notices = [.recovered] }
        return step
    }

    /// Sends a batch again whose token ClickHouse has without its rows.
    private mutating func rescue(_ job: consuming InsertJob, of worker: Int) -> InsertStep {
        let notice = InsertStep.Notice.rescued(job.batch)
        statistics.rescuedBatches += 1
        job.updateBatch { $0.renewToken() }
        job.attempts.crash = job.crashCheck
        job.attempts.mayBeStored = false
        job.attempts.verification = nil
        var step = isStopped ? InsertStep(.end) : insert(job, of: worker)
        step.notices = [notice]
        return step
    }

    /// Counts a batch as stored because ClickHouse reports it and cannot be asked.
    private mutating func believe(_ job: consuming InsertJob, of worker: Int, at now: Instant) -> InsertStep {
        guard let verification = job.attempts.verification else { preconditionFailure("nothing was asked") }
        let notice = InsertStep.Notice.unverified(job.batch, job.storedCheck, problem: verification.problem)
        var step = store(job, of: worker, verification.success, at: now)
        step.notices.insert(notice, at: 0)
        return step
    }

    private mutating func endProbe(of job: inout InsertJob, at now: Instant) {
        guard job.attempts.isProbe else { return }
        job.attempts.isProbe = false
        sizeLimit.endProbe(next: now + configuration.sizeRefusals.probeInterval)
    }

    // MARK: - Failures

    /// Counts a failed attempt and decides what follows. No batch is rejected after
    /// ``Inserter/maximumRejectionsInARow`` consecutive rejections: then the table must have changed.
    private mutating func retry(
        _ job: consuming InsertJob, of worker: Int, after failure: InsertJob.Failure, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> InsertStep {
        let (batch, error) = (job.batch, failure.error)
        // Not checked on the first size rejection: an earlier attempt may still be in flight.
        job.attempts.isKeptWhole = job.attempts.mayBeStored && error.isTooLarge
        let decision = job.attempts.retry.failed(
            error,
            InsertRetry.Choices(
                mayReject: rejectionsInARow < Inserter.maximumRejectionsInARow, size: sizeChoice(of: job, at: now),
                viewLimit: viewLimit(of: batch, error)),
            at: now, using: &generator)
        record(failure, of: batch, decision, at: now)
        var notices = notice(of: error, batch, decision, at: now).map { [$0] } ?? []
        var step: InsertStep
        switch decision {
        case .tryNextEndpoint:
            step = insert(job, of: worker)
            step.movesOn = true
        case .wait(let delay, let reason):
            step = wait(delay, reason, job, of: worker, at: now)
            step.movesOn = true
        case .setAside(let delay, _):
            endProbe(of: &job, at: now)
            step = setAside(job, for: delay, at: now)
            step.movesOn = true
        case .split:
            endProbe(of: &job, at: now)
            if job.attempts.mayBeStored {
                statistics.possiblyDoubled += batch.amount
                notices.append(.possiblyDoubled(batch))
            }
            step = halve(job, of: worker)
        case .ignoreViews:
            job.updateBatch { $0.leaveViews() }
            step = insert(job, of: worker)
        case .reject:
            endProbe(of: &job, at: now)
            rejectionsInARow += 1
            job.parts.removeLast()
            step = advance(job, of: worker, at: now)
            step.outcome = .rejected(batch, error)
        }
        step.notices = notices
        return step
    }

    /// Sets a block aside, so that its worker takes other blocks.
    private mutating func setAside(
        _ job: consuming InsertJob, for delay: Duration, at now: Instant
    ) -> InsertStep {
        job.attempts.setAsideSince = job.attempts.setAsideSince ?? now
        setAsideWaits += 1
        let step = InsertStep(.setAside(number: setAsideWaits, delay), job.delivery)
        setAside[setAsideWaits] = job
        return step
    }

    /// Counts a failed attempt, and remembers what concerns other batches.
    private mutating func record(
        _ failure: InsertJob.Failure, of batch: InsertBatch, _ decision: InsertRetry.Step, at now: Instant
    ) {
        let error = failure.error
        statistics.failedAttempts[error.reason, default: 0] += 1
        statistics.failedAttemptsByClass[error.failureClass, default: 0] += 1
        statistics.failedAttemptDuration.add(failure.duration)
        statistics.countAttempt(at: failure.endpoint, error: error)
        switch decision {
        case .split, .setAside:
            sizeLimit.noteRefusal(
                of: batch.body.bytes.count, nextProbe: now + configuration.sizeRefusals.probeInterval)
        case .ignoreViews: lastingViewFailures.insert(error.failureClass)
        case .tryNextEndpoint, .wait, .reject: break
        }
        // A step that continues without a delay is not a lasting failure.
        guard decision != .split && decision != .ignoreViews else { return }
        statistics.lastError = "\(error)"
        statistics.lastFailureClass = error.failureClass
        switch decision {
        case .wait(_, let reason), .setAside(_, let reason):
            statistics.operatorError = reason == .forOperator ? "\(error)" : nil
        case .tryNextEndpoint, .split, .ignoreViews, .reject: break
        }
    }

    /// Returns the options for a batch that a proxy rejects for its size.
    private func sizeChoice(of job: borrowing InsertJob, at now: Instant) -> InsertRetry.Choices.Size {
        guard job.batch.rows > 1 else { return .reject }
        let limit = configuration.sizeRefusals.longestSetAside
        let isOverdue = job.attempts.setAsideSince.map { $0 + limit <= now } ?? false
        return job.attempts.mayBeStored && !isOverdue ? .keep : .split
    }

    /// Returns the time for which a batch is retried after failures of a view: zero if another batch has reached the
    /// limit already.
    private func viewLimit(of batch: InsertBatch, _ error: ClickHouseError) -> Duration? {
        guard configuration.viewErrors == .automatic, !batch.ignoresViewErrors, error.isOfView else { return nil }
        return lastingViewFailures.contains(error.failureClass) ? .zero : configuration.viewLimits[error.failureClass]
    }

    /// Returns the log line about a failed attempt, within the limits: many workers may fail for the same reason.
    private mutating func notice(
        of error: ClickHouseError, _ batch: InsertBatch, _ decision: InsertRetry.Step, at now: Instant
    ) -> InsertStep.Notice? {
        switch (decision, error) {
        case (.ignoreViews, .failingView(let view, _, _)):
            return warningLimit.admit(view, at: now).map { _ in .leftOut(view: view, error) }
        case (.split, _): return warningLimit.admit("size", at: now).map { _ in .split(error, batch) }
        default: break
        }
        guard failureLimit.admit(error.reason, at: now) != nil else { return nil }
        switch decision {
        case .wait(let delay, _), .setAside(let delay, _): return .failed(error, batch, nextAttemptIn: delay)
        case .tryNextEndpoint, .split, .ignoreViews: return .failed(error, batch, nextAttemptIn: nil)
        // The rejection is logged with its outcome.
        case .reject: return nil
        }
    }
}

extension Inserter.Statistics {
    fileprivate mutating func countAttempt(at endpoint: String, error: ClickHouseError?) {
        guard let index = endpoints.firstIndex(where: { $0.url == endpoint }) else { return }
        endpoints[index].attempts += 1
        endpoints[index].failures += error == nil ? 0 : 1
        endpoints[index].lastError = error.map { "\($0)" }
    }
}
