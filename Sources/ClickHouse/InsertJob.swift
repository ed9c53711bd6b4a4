// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowModel

/// A block of the ``InsertQueue`` that a worker has taken, and its batches that are still to be sent.
struct InsertJob: Sendable {
    /// The action that the worker carries out.
    enum Phase: Equatable, Sendable {
        case encoding
        case inserting
        case verifying
        case searching
        case halving
        case waiting
        case settling
    }

    /// The attempts on one batch.
    struct Attempts: Sendable {
        var retry: InsertRetry
        var crash: CrashCheck
        var mayBeStored = false
        /// True if the last attempt was rejected for its size and an earlier one may have stored the batch.
        var isKeptWhole = false
        /// The time at which the batch was set aside for the first time; nil if it never was.
        var setAsideSince: ContinuousClock.Instant?
        /// Whether the batch is sent to learn whether the limit on sizes was raised.
        var isProbe = false
        /// The failure that ``Phase/searching`` interrupts.
        var failure: Failure?
        /// The question whether ClickHouse has the batch; nil if none is open.
        var verification: Verification?
    }

    /// A successful attempt.
    struct Success: Sendable {
        let endpoint: String
        /// The display name of the server that responded.
        let server: String?
        let duration: Duration
        /// The wall clock after the response, in seconds since the Unix epoch.
        let second: UInt32
        /// Whether an agent of the block has gone, so that another server may fence the block.
        var isAtRisk = false
    }

    /// A failed attempt.
    struct Failure: Sendable {
        let error: ClickHouseError
        let endpoint: String
        let begun: ContinuousClock.Instant
        let duration: Duration
    }

    /// The question whether ClickHouse has a batch that it reports as stored.
    struct Verification: Sendable {
        let success: Success
        /// Whether another server may have fenced the batch.
        let mayBeFenced: Bool
        /// The number of times that ClickHouse was asked.
        var questions = 1
        /// Why there is no answer yet.
        var problem = "ClickHouse is still loading its parts"
    }

    let delivery: BlockDelivery
    /// The agents' batches of a block that is announced to agents; empty if it is not.
    let announced: Set<BatchIdentity>
    /// The wall clock when the block was submitted, in seconds since the Unix epoch.
    let submitted: UInt32
    /// When the block was announced; its beginning if it was not.
    let announcedAt: ContinuousClock.Instant
    /// The time at which a worker took the block.
    let begun: ContinuousClock.Instant
    /// The rows and bytes held of the block until it is encoded.
    let size: (rows: Int, bytes: Int)
    var phase = Phase.encoding
    /// The batches to send, from last to first.
    var parts: [InsertBatch] = []
    /// The attempts on the last of ``parts``.
    var attempts: Attempts
    /// The batches that were stored, while others are left.
    var siblings: [CrashCheck.Sibling] = []

    init(_ waiting: InsertQueue.Waiting, retry: InsertRetry, at now: ContinuousClock.Instant) {
        delivery = waiting.delivery
        announced = waiting.announced
        submitted = waiting.submitted
        announcedAt = waiting.block.announced ?? waiting.block.begun
        begun = now
        size = (waiting.block.rows, waiting.block.memoryBytes)
        attempts = Attempts(retry: retry, crash: CrashCheck(since: now))
    }

    /// The batch that is sent next, or in flight. There must be one.
    var batch: InsertBatch { parts[parts.count - 1] }

    /// The check of a batch on which no attempt has failed.
    var crashCheck: CrashCheck { CrashCheck(since: begun, siblings: siblings) }

    /// The check of the batch that ClickHouse has just reported as stored.
    var storedCheck: StoredCheck {
        StoredCheck(mayBeFenced: attempts.verification?.mayBeFenced ?? false, crash: attempts.crash)
    }

    /// Changes the batch that is sent next.
    mutating func updateBatch(_ change: (inout InsertBatch) -> Void) { change(&parts[parts.count - 1]) }
}
