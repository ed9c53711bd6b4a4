// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowModel

/// The response of the ``InsertQueue`` to an event. A worker carries out its parts in the order of their declaration.
struct InsertStep: Sendable {
    /// The worker's block in its account; nil if the worker has none.
    var delivery: BlockDelivery?
    /// The change of the rows and bytes that are held of the block.
    var growth: (rows: Int, bytes: Int)?
    /// A part of the block that is settled now, or all of it.
    var outcome: Outcome?
    /// Log lines.
    var notices: [Notice] = []
    /// The workers whose waits have ended.
    var woken: [Int] = []
    /// Whether the worker turns to the next endpoint.
    var movesOn = false
    /// The block to encode.
    var block: FlowBlock?
    /// The next action.
    var action: Action

    init(_ action: Action, _ delivery: BlockDelivery? = nil) {
        self.action = action
        self.delivery = delivery
    }
}

extension InsertStep {
    /// The next action of a worker, which ends with an event.
    enum Action: Sendable {
        /// Wait for a block; then ``InsertQueue/workerFreed(_:at:)``.
        case idle
        /// Encode the step's block; then ``InsertQueue/blockEncoded(_:as:at:)``.
        case encode
        /// Send the batch; then ``InsertQueue/insertSucceeded(_:_:at:)`` or ``InsertQueue/insertFailed(_:_:at:using:)``.
        case insert(InsertBatch)
        /// Ask ClickHouse whether it has the batch, which it reports as stored; then
        /// ``InsertQueue/batchVerified(_:_:at:)``.
        case verify(InsertBatch, StoredCheck)
        /// Ask ClickHouse whether no attempt has stored the batch; then
        /// ``InsertQueue/partSearched(_:isExcluded:at:using:)``.
        case searchPart(InsertBatch, CrashCheck)
        /// Make two batches of the batch; then ``InsertQueue/batchHalved(_:into:_:at:)``.
        case halve(InsertBatch)
        /// Wait until a time, or until the worker is among ``InsertStep/woken``; then ``InsertQueue/waitEnded(_:at:)``.
        case wait(until: ContinuousClock.Instant)
        /// Mark the block as set aside, call ``InsertQueue/setAsideEnded(_:)`` with this number after the delay, and
        /// wait for another block.
        case setAside(number: UInt64, Duration)
        /// Settle the block; then ``InsertQueue/blockSettled(_:)``.
        case settle
        /// End.
        case end
    }

    /// The outcome of a batch.
    enum Outcome: Sendable {
        case stored(InsertBatch)
        case rejected(InsertBatch, ClickHouseError)
        /// Another server has fenced the batch, which is a whole block with these batches of agents.
        case void(InsertBatch, of: Set<BatchIdentity>)
    }

    /// A log line.
    enum Notice: Sendable {
        case recovered
        case failed(ClickHouseError, InsertBatch, nextAttemptIn: Duration?)
        /// A batch is sent in halves because of its size.
        case split(ClickHouseError, InsertBatch)
        /// The halves of a batch are sent although it may be stored.
        case possiblyDoubled(InsertBatch)
        /// A batch is sent without a view that fails.
        case leftOut(view: String, ClickHouseError)
        /// ClickHouse has a batch's token without its rows.
        case rescued(InsertBatch)
        /// Another server has fenced a batch.
        case fenced(InsertBatch)
        /// ClickHouse reports a batch as stored, and the check of the report failed with this problem.
        case unverified(InsertBatch, StoredCheck, problem: String)
    }
}
