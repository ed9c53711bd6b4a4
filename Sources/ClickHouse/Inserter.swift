// SPDX-License-Identifier: Apache-2.0

import Dispatch
public import FlowBlocks
public import FlowModel
import HTTPClient
public import Logging
import Synchronization
import Threads

/// Sends blocks to ClickHouse from its own threads, each with its own connections, and retries until ClickHouse has
/// them.
///
/// The ``InsertQueue`` decides; the threads encode, send and wait, and report how that ended. A block's memory shrinks
/// when a thread takes it from the queue: from then on, only its compressed bytes are kept.
public final class Inserter: BlockSink {
    /// The maximum number of consecutive batches that are rejected; after that, the table is presumed to be at fault,
    /// and rows are kept until an insert succeeds.
    static let maximumRejectionsInARow = 3

    private let configuration: Configuration
    private let log: InsertLog
    /// The account of the inserter's blocks.
    let account: SinkAccount
    private let encoder: InsertEncoder
    private let deadLetters: DeadLetterDirectory?
    private let queue: Mutex<InsertQueue>
    /// Signalled once for each block that can be taken.
    private let available = DispatchSemaphore(value: 0)
    /// Ends the wait of each worker.
    private let wakeUps: [DispatchSemaphore]
    private let cancellation = HTTPCancellation()
    /// Receives an element whenever no block is left.
    private let emptied = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// Makes an inserter and starts its threads.
    ///
    /// - Parameters:
    ///   - configuration: The inserter's settings.
    ///   - schema: The table.
    ///   - logger: Logs failures and recoveries.
    ///   - account: Counts the blocks.
    public init(configuration: Configuration, schema: TableSchema, logger: Logger, account: SinkAccount) {
        self.configuration = configuration
        self.account = account
        log = InsertLog(logger)
        encoder = InsertEncoder(configuration, schema, ledger: account.ledger)
        deadLetters = configuration.deadLetters.map(DeadLetterDirectory.init)
        queue = Mutex(
            InsertQueue(configuration, hasFences: schema.fenceObstacle(configuration.asyncInsert) == nil))
        wakeUps = (0..<configuration.workers).map { _ in DispatchSemaphore(value: 0) }
        for worker in 0..<configuration.workers {
            OwnedThread.start(name: "insert-\(worker)") { self.run(worker) }
        }
    }

    /// Statistics of inserts.
    public var statistics: Statistics { queue.withLock { $0.statistics } }

    /// The columns that the table has.
    public var form: BlockForm { encoder.form }

    /// The table as it was when it was last read.
    public var table: TableSchema { encoder.table }

    /// Fills the columns that the table has now. Batches that are encoded already keep theirs.
    public func adopt(_ schema: TableSchema) { encoder.table = schema }

    /// The blocks that wait or are in flight, and the problem that stops the inserter.
    public var load: SinkLoad {
        let held = account.statistics
        return SinkLoad(
            heldBytes: held.queuedBytes, oldestWait: held.oldestWait,
            problem: statistics.problem(oldestWait: held.oldestWait))
    }

    /// Sends a block that has rows, as soon as a thread is free. Rows that ClickHouse will never accept are rejected.
    public func submit(
        _ block: FlowBlock, isAtRisk: @escaping @Sendable () -> Bool = { false },
        settled: @escaping @Sendable (BlockSettlement) -> Void
    ) {
        precondition(block.rows > 0, "a block without rows")
        let delivery = account.deliver(block, isAtRisk: isAtRisk, settled: settled)
        queue.withLock { $0.submit(block, delivery, at: WallClock.seconds()) }
        available.signal()
    }

    /// Removes batches of agents that have left from the blocks that no thread has taken yet.
    ///
    /// A block that is announced to agents keeps them, whether a thread has taken it or not: another server may fence it.
    /// Before such a block counts as stored, ClickHouse is queried for a fence if there may be one.
    public func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
        let (withdrawn, isEmpty) = queue.withLock { queue in
            var withdrawn: Set<BatchIdentity> = []
            // Counted under the lock: a block's settlement names the batches that were withdrawn from it.
            for (delivery, withdrawal) in queue.withdraw(batches) {
                delivery.count(withdrawal)
                withdrawn.formUnion(withdrawal.batches)
            }
            return (withdrawn, queue.unsettledBlocks == 0)
        }
        if isEmpty { emptied.continuation.yield() }
        return withdrawn
    }

    /// Waits until every block is settled, for at most `timeout`, and then abandons the rest.
    ///
    /// - Returns: The number of abandoned rows. ClickHouse may have some of those that were in flight.
    public func drain(timeout: Duration) async -> Int {
        await withTaskGroup { group in
            group.addTask { await self.waitUntilEmpty() }
            group.addTask { try? await Task.sleep(for: timeout) }
            await group.next()
            group.cancelAll()
        }
        let rest = account.statistics.queuedRows
        queue.withLock { $0.stop() }
        cancellation.cancel()
        for wakeUp in wakeUps {
            wakeUp.signal()
            available.signal()
        }
        return rest
    }

    /// Frees memory that is kept for later blocks.
    public func releaseMemory() { encoder.releaseMemory() }

    private func waitUntilEmpty() async {
        var changes = emptied.stream.makeAsyncIterator()
        while account.statistics.queuedRows > 0, await changes.next() != nil {}
    }

    // MARK: - A worker's thread

    private func run(_ worker: Int) {
        let client = ClickHouseClient(configuration.client, cancellation: cancellation)
        var step = InsertStep(.idle)
        while let next = carryOut(&step, of: worker, over: client) { step = next }
    }

    /// Carries out a step of a worker and returns the next one; nil at the end.
    private func carryOut(
        _ step: inout InsertStep, of worker: Int, over client: borrowing ClickHouseClient
    ) -> InsertStep? {
        carryOutEffects(of: &step, over: client)
        switch step.action {
        case .idle: return nextBlock(for: worker)
        case .encode:
            guard var block = step.block.take() else { preconditionFailure("there is no block to encode") }
            let batch = encoder.encode(&block)
            return queue.withLock { $0.blockEncoded(worker, as: batch, at: .now) }
        case .insert(let batch): return insert(batch, of: step.delivery, worker, over: client)
        case .verify(let batch, let check):
            let result = Result { () throws(ClickHouseError) in
                try check.verdict(batch, in: encoder.table, asking: client)
            }
            return queue.withLock { $0.batchVerified(worker, result, at: .now) }
        case .searchPart(let batch, let crash):
            let isExcluded = crash.excludesStored(batch, in: encoder.table, asking: client)
            var generator = SystemRandomNumberGenerator()
            return queue.withLock { $0.partSearched(worker, isExcluded: isExcluded, at: .now, using: &generator) }
        case .halve(let batch):
            let (first, second) = encoder.halve(batch)
            return queue.withLock { $0.batchHalved(worker, into: first, second, at: .now) }
        case .wait(let end):
            _ = wakeUps[worker].wait(timeout: .now() + (end - .now) / .seconds(1))
            return queue.withLock { $0.waitEnded(worker, at: .now) }
        case .setAside(let number, let delay):
            step.delivery?.markSetAside()
            DispatchQueue.global().asyncAfter(deadline: .now() + delay / .seconds(1)) { [weak self] in
                self?.endSetAside(number)
            }
            return nextBlock(for: worker)
        case .settle:
            step.delivery?.settle()
            let (next, isEmpty) = queue.withLock { ($0.blockSettled(worker), $0.unsettledBlocks == 0) }
            if isEmpty { emptied.continuation.yield() }
            return next
        case .end: return nil
        }
    }

    /// Carries out everything of a step but its action, and releases the memory of what is settled.
    private func carryOutEffects(of step: inout InsertStep, over client: borrowing ClickHouseClient) {
        if let delivery = step.delivery {
            if let growth = step.growth { delivery.adjustHeld(rows: growth.rows, bytes: growth.bytes) }
            if let outcome = step.outcome.take() { count(outcome, of: delivery) }
        }
        for notice in step.notices { log.report(notice) }
        step.notices = []
        for other in step.woken { wakeUps[other].signal() }
        if step.movesOn { client.moveOn() }
    }

    private func nextBlock(for worker: Int) -> InsertStep {
        available.wait()
        return queue.withLock { $0.workerFreed(worker, at: .now) }
    }

    private func insert(
        _ batch: InsertBatch, of delivery: BlockDelivery?, _ worker: Int, over client: borrowing ClickHouseClient
    ) -> InsertStep {
        let (endpoint, begun) = (client.endpoint, ContinuousClock.now)
        do throws(ClickHouseError) {
            try client.insert(batch.statement, batch.body, settings: batch.settings)
        } catch {
            let now = ContinuousClock.now
            let failure = InsertJob.Failure(error: error, endpoint: endpoint, begun: begun, duration: now - begun)
            var generator = SystemRandomNumberGenerator()
            return queue.withLock { $0.insertFailed(worker, failure, at: now, using: &generator) }
        }
        let now = ContinuousClock.now
        let success = InsertJob.Success(
            endpoint: endpoint, server: client.lastServer, duration: now - begun,
            second: WallClock.seconds(), isAtRisk: batch.isAnnounced && delivery?.isAtRisk ?? false)
        return queue.withLock { $0.insertSucceeded(worker, success, at: now) }
    }

    /// Counts a batch as stored, rejected or void.
    private func count(_ outcome: InsertStep.Outcome, of delivery: BlockDelivery) {
        switch outcome {
        case .stored(let batch):
            delivery.count(batch.amount, as: .stored, freeing: batch.body.bytes.count)
            encoder.recycle(batch.body)
        case .rejected(let batch, let error):
            delivery.count(batch.amount, as: .rejected(reason: error.reason), freeing: batch.body.bytes.count)
            log.reportRejection(of: batch, error, file: deadLetters.map { $0.path(storing: batch) })
            encoder.recycle(batch.body)
        case .void(let batch, let batches):
            delivery.countVoid(batch.amount, of: batches, freeing: batch.body.bytes.count)
            encoder.recycle(batch.body)
        }
    }

    private func endSetAside(_ number: UInt64) {
        queue.withLock { $0.setAsideEnded(number) }
        available.signal()
    }
}
