// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import HTTPClient
import Labeling
import Synchronization
import TestSupport

@testable import ClickHouse
@testable import FlowBlocks
@testable import Retry

/// An insert queue whose workers are simulated: the effects of its steps are carried out on an account, and a test
/// decides how the actions end.
final class InsertQueueUnderTest {
    /// The end of a worker's action.
    enum Event {
        /// A block is available, or the worker was woken for none.
        case woken
        case encoded
        case succeeded
        /// The insert succeeds, and an agent of the block has gone meanwhile.
        case succeededAtRisk
        case failed(ClickHouseError)
        case verified(Result<StoredCheck.Verdict, ClickHouseError>)
        case searched(isExcluded: Bool)
        case halved
        /// The worker's wait ends after this time.
        case waited(Duration = .seconds(3600))
        case settled
    }

    private final class Settlements: Sendable {
        let all = Mutex<[Int: [BlockSettlement]]>([:])
    }

    private static let flows = (10..<30).map { labeledFlow(podLabels("\($0)"), ports: (UInt16($0), 443)) }
    private static let agent = AgentIdentity(id: 1, nodeName: "node-a")

    let account: SinkAccount
    private(set) var queue: InsertQueue
    var now = ContinuousClock.now
    /// The wall clock, which stands still unless a test sets it.
    var second: UInt32 = 1_000_000
    var generator: SeededGenerator
    /// The step of each worker, whose effects have been carried out.
    private(set) var steps: [InsertStep]
    /// The number of times that a worker is to be woken for a block.
    private(set) var available = 0
    /// Workers whose waits have been ended by a success.
    private(set) var woken: Set<Int> = []
    /// Blocks that are set aside, by the numbers of their waits.
    private(set) var timers: [UInt64: ContinuousClock.Instant] = [:]
    private(set) var outcomes: [InsertStep.Outcome] = []
    private(set) var notices: [InsertStep.Notice] = []
    /// The number of times that each worker has turned to the next endpoint.
    private(set) var moves: [Int]
    /// The number of each block, by the time at which it was begun.
    private(set) var numbers: [ContinuousClock.Instant: Int] = [:]
    /// The blocks that workers have taken, in order.
    private(set) var taken: [Int] = []
    private let settled = Settlements()
    private let schema: TableSchema
    private var encoder = BlockEncoder()

    init(
        workers: Int = 1, endpoints: Int = 1, seed: UInt64 = 1, hasFences: Bool = true,
        _ change: (inout Inserter.Configuration) -> Void = { _ in }
    ) throws {
        var configuration = Inserter.Configuration(
            client: ClickHouseClient.Configuration(endpoints: (0..<endpoints).map { "http://\($0)" }), workers: workers)
        configuration.backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(10))
        configuration.slowBackoff = Backoff(initial: .seconds(20), maximum: .seconds(200))
        change(&configuration)
        account = BlockLedger(maximumBytes: .max).openAccount()
        queue = InsertQueue(configuration, hasFences: hasFences)
        generator = SeededGenerator(seed: seed)
        steps = Array(repeating: InsertStep(.idle), count: workers)
        moves = Array(repeating: 0, count: workers)
        schema = try TableSchema(
            table: "t", columnNames: FlowColumn.original.map(\.name), deduplication: .plain(window: 10_000),
            serverVersion: "26.9.2.1")
    }

    /// The settlements of each block.
    var settlements: [Int: [BlockSettlement]] { settled.all.withLock { $0 } }

    /// Returns the name of a worker's action.
    func action(_ worker: Int = 0) -> String { steps[worker].action.name }

    static func identity(_ block: Int, _ batch: Int) -> BatchIdentity {
        BatchIdentity(agent: agent, sequence: UInt64(100 * block + batch))
    }

    // MARK: - Callers' events

    /// Submits a block of batches with these numbers of flows, each of two rows. More than twenty flows are merged. A
    /// block with a token is announced to agents.
    func submit(_ number: Int, batches: [Int] = [1], token: UInt128? = nil) {
        var block = FlowBlock(environment: "testing", dayOf: lastSecondOfADay)
        block.token = token
        var flow = 0
        for (batch, flows) in batches.enumerated() {
            for _ in 0..<flows {
                block.append(Self.flows[flow % Self.flows.count], observedAt: lastSecondOfADay)
                flow += 1
            }
            block.endBatch(Self.identity(number, batch))
        }
        numbers[block.begun] = number
        let delivery = account.deliver(block) { [settled] settlement in
            settled.all.withLock { $0[number, default: []].append(settlement) }
        }
        queue.submit(block, delivery, at: second)
        available += 1
    }

    func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
        queue.withdraw(batches).reduce(into: []) { withdrawn, removed in
            removed.delivery.count(removed.withdrawal)
            withdrawn.formUnion(removed.withdrawal.batches)
        }
    }

    /// Ends the waits of the blocks that are set aside until now.
    func fireTimers() {
        for (number, end) in timers where end <= now {
            timers[number] = nil
            endSetAside(number)
        }
    }

    func endSetAside(_ number: UInt64) {
        queue.setAsideEnded(number)
        available += 1
    }

    /// Stops the queue and wakes all workers.
    func stop() {
        queue.stop()
        available += steps.count
        woken = Set(steps.indices)
    }

    // MARK: - Workers' events

    /// Ends a worker's action, which must match the event, and returns the name of the next one.
    @discardableResult func end(_ event: Event, of worker: Int = 0) -> String {
        carryOut(step(after: event, of: worker), of: worker)
        return action(worker)
    }

    /// Ends actions of the first worker, and returns the name of the last one.
    @discardableResult func end(_ events: [Event]) -> String {
        for event in events { end(event) }
        return action()
    }

    private func success(of worker: Int, isAtRisk: Bool) -> InsertJob.Success {
        InsertJob.Success(
            endpoint: endpoint(of: worker), server: "s", duration: .milliseconds(7), second: second, isAtRisk: isAtRisk)
    }

    private func step(after event: Event, of worker: Int) -> InsertStep {
        switch event {
        case .woken:
            available -= min(1, available)
            let step = queue.workerFreed(worker, at: now)
            if let block = step.block, let number = numbers[block.begun] { taken.append(number) }
            return step
        case .encoded:
            guard var block = steps[worker].block.take() else { preconditionFailure("no block is encoded") }
            let (body, rows) = encoder.encode(&block, for: schema, compression: .none)
            let batch = InsertBatch(block, rows: rows, body: body, into: schema, timeoutMilliseconds: 1_000)
            return queue.blockEncoded(worker, as: batch, at: now)
        case .succeeded: return queue.insertSucceeded(worker, success(of: worker, isAtRisk: false), at: now)
        case .succeededAtRisk: return queue.insertSucceeded(worker, success(of: worker, isAtRisk: true), at: now)
        case .failed(let error):
            let failure = InsertJob.Failure(
                error: error, endpoint: endpoint(of: worker), begun: now, duration: .milliseconds(9))
            return queue.insertFailed(worker, failure, at: now, using: &generator)
        case .verified(let result): return queue.batchVerified(worker, result, at: now)
        case .searched(let isExcluded):
            return queue.partSearched(worker, isExcluded: isExcluded, at: now, using: &generator)
        case .halved:
            guard case .halve(let batch) = steps[worker].action else { preconditionFailure("no batch is halved") }
            let (first, second) = batch.halves()
            return queue.batchHalved(worker, into: first, second, at: now)
        case .waited(let duration):
            now += duration
            woken.remove(worker)
            return queue.waitEnded(worker, at: now)
        case .settled:
            steps[worker].delivery?.settle()
            return queue.blockSettled(worker)
        }
    }

    private func endpoint(of worker: Int) -> String {
        queue.statistics.endpoints[moves[worker] % queue.statistics.endpoints.count].url
    }

    private func carryOut(_ step: InsertStep, of worker: Int) {
        steps[worker] = step
        if let delivery = step.delivery {
            if let growth = step.growth { delivery.adjustHeld(rows: growth.rows, bytes: growth.bytes) }
            switch step.outcome {
            case .stored(let batch): delivery.count(batch.amount, as: .stored, freeing: batch.body.bytes.count)
            case .rejected(let batch, let error):
                delivery.count(
                    batch.amount, as: .rejected(reason: error.reason), freeing: batch.body.bytes.count)
            case .void(let batch, let batches):
                delivery.countVoid(batch.amount, of: batches, freeing: batch.body.bytes.count)
            case nil: break
            }
        }
        if let outcome = step.outcome { outcomes.append(outcome) }
        notices += step.notices
        woken.formUnion(step.woken)
        if step.movesOn { moves[worker] += 1 }
        if case .setAside(let number, let delay) = step.action {
            step.delivery?.markSetAside()
            timers[number] = now + delay
        }
    }
}

extension InsertStep.Action {
    /// The action's name, with the rows of its batch.
    var name: String {
        switch self {
        case .idle: "idle"
        case .encode: "encode"
        case .insert(let batch): "insert \(batch.rows)"
        case .verify(let batch, _): "verify \(batch.rows)"
        case .searchPart(let batch, _): "search \(batch.rows)"
        case .halve(let batch): "halve \(batch.rows)"
        case .wait: "wait"
        case .setAside: "set aside"
        case .settle: "settle"
        case .end: "end"
        }
    }
}

extension ClickHouseError {
    /// ClickHouse has too many parts.
    static let busy = ClickHouseError.exception(code: tooManyParts, message: "too many parts")
    /// Nothing listens.
    static let refused = ClickHouseError.unreachable(
        endpoint: "e", HTTPError(kind: .connection, message: "refused", wasSent: false))
    /// The connection was cut while ClickHouse may have stored the rows.
    static let cut = ClickHouseError.unreachable(endpoint: "e", HTTPError(kind: .connection, message: "cut"))
    /// The table does not exist.
    static let noTable = ClickHouseError.exception(code: unknownTable, message: "no table")
    static let refusedData = ClickHouseError.exception(code: 117, message: "incorrect data")
    static let tooLarge = ClickHouseError.unexpectedAnswer(endpoint: "e", status: 413, body: "")
    static let brokenView = ClickHouseError.failingView(name: "d.v", code: 395, message: "thrown")
    /// A proxy asks for a delay of 7 s.
    static let slowly = ClickHouseError.unexpectedAnswer(
        endpoint: "e", status: 429, body: "", retryAfter: .seconds(7))
}
