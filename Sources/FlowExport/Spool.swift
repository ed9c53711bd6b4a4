// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import Retry
import Synchronization
import Threads

/// Keeps a copy of an exporter's unacknowledged batches in a directory, from which the next agent process restores them
/// if this one is killed.
///
/// The batches in memory are authoritative. A batch is written as soon as it is kept, and so is its acknowledgement;
/// when the log has to shrink, or has missed a record, it is rewritten from memory in one step. A disk failure
/// therefore costs the copy and never a batch: while the directory fails, the exporter works as it does without one,
/// and the attempt is repeated.
///
/// All methods but ``start(usedBytes:exchange:)`` are called on the event loop; all file I/O is done on the spool's own
/// thread.
final class Spool: Sendable {
    /// The directory, its limits and its owner.
    struct Configuration: Sendable {
        /// The directory (SPOOL_DIRECTORY); it is created if its parent exists.
        var directory: String
        /// The limit on unacknowledged frames, in bytes (SPOOL_BYTES). The log grows to one and a quarter of it; while
        /// it is rewritten, the old and the new log exist side by side.
        var maximumBytes: Int
        /// The node whose batches are kept.
        var nodeName: String
        /// The agent process that numbers new batches.
        var agentID: AgentID
        /// The time between two calls of fsync(2); a crash of the node may lose what was written in it. A killed
        /// process loses less, since the kernel keeps what was written.
        var syncInterval = TimeAmount.seconds(1)
        /// The delays between attempts to use the directory.
        var backoff = Backoff.spoolDirectory
    }

    private enum Operation {
        case open(number: Int)
        case append(SpooledBatch)
        case acknowledge([BatchKey], frameBytes: Int)
        case record(AnnouncedBlock, [BatchKey])
        case replace([SpooledBatch], number: Int)
        case clear
        case sync
        case close(EventLoopPromise<Bool>)
    }

    /// The exporter's functions that the spool calls.
    private struct Exporter {
        let usedBytes: @Sendable () -> Int
        let exchange: @Sendable ([SpooledBatch]) -> [SpooledBatch]
    }

    private struct State {
        /// The spool's thread; nil once the directory is closed.
        var thread: OwnedThread? = OwnedThread(name: "spool")
        var exporter: Exporter?
        /// Operations that the thread has not begun.
        var operations: [Operation] = []
        /// Completed once the operations have been performed, or the directory has failed.
        var performed: [EventLoopPromise<Void>] = []
        /// Bytes of the frames in `operations`, and in the operations that the thread is performing.
        var (queuedBytes, begunBytes) = (0, 0)
        var isThreadBusy = false
        /// Whether the log and the operations together hold every batch that the exporter keeps.
        var isMirror = false
        /// The highest of this process's sequence numbers that the log may hold; nil if it holds none.
        var newest: UInt64?
        /// The numbers of the last begun and the last ended attempt to open or rewrite the log.
        var (begunNumber, endedNumber) = (0, 0)
        var settled: [EventLoopPromise<Void>] = []
        var isSyncScheduled = false
        var isReplacementAsked = false
        var isClosed = false
        var backoff: Backoff
        var statistics = SpoolStatistics()

        init(backoff: Backoff) { self.backoff = backoff }

        var isSettled: Bool { endedNumber == begunNumber }

        mutating func takeSettled() -> [EventLoopPromise<Void>] {
            guard isSettled else { return [] }
            defer { settled = [] }
            return settled
        }

        /// Returns the operations for the thread, with the promises to complete afterwards; nil if there are none, and the
        /// thread then counts as idle.
        mutating func takeOperations() -> ([Operation], performed: [EventLoopPromise<Void>])? {
            isThreadBusy = !operations.isEmpty
            (queuedBytes, begunBytes) = (0, queuedBytes)
            guard isThreadBusy else { return nil }
            defer { (operations, performed) = ([], []) }
            return (operations, performed)
        }

        mutating func takePerformed() -> [EventLoopPromise<Void>] {
            defer { performed = [] }
            return performed
        }

        /// Drops the operations that are obsolete once the log is to be rewritten or has failed.
        mutating func dropRecords() {
            queuedBytes = 0
            operations.removeAll {
                switch $0 {
                case .append, .acknowledge, .record, .replace, .clear: true
                case .open, .sync, .close: false
                }
            }
        }
    }

    /// State that only the spool's thread accesses.
    private struct Disk {
        var directory: SpoolDirectory
        /// Agent processes whose batches are or were in memory; a log that is reopened does not restore them again.
        var known: Set<AgentID>
        /// Whether a log has been read.
        var wasRead = false
        var lastSync = NIODeadline.now()
    }

    private let configuration: Configuration
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let state: Mutex<State>
    private let disk: Mutex<Disk>

    /// Makes a spool that has not opened its directory yet.
    init(_ configuration: Configuration, eventLoop: any EventLoop, logger: Logger) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        state = Mutex(State(backoff: configuration.backoff))
        disk = Mutex(
            Disk(
                directory: SpoolDirectory(
                    configuration.directory, node: configuration.nodeName, maximumBytes: configuration.maximumBytes),
                known: [configuration.agentID]))
    }

    /// The state of the directory and its failures so far.
    var statistics: SpoolStatistics { state.withLock { $0.statistics } }

    // MARK: - Calls from the exporter

    /// Opens the directory.
    ///
    /// - Parameters:
    ///   - usedBytes: Returns the bytes of frames that the exporter keeps; called on any thread.
    ///   - exchange: Passes a predecessor's batches to the exporter, and returns all batches that it then keeps.
    func start(
        usedBytes: @escaping @Sendable () -> Int,
        exchange: @escaping @Sendable (_ restored: [SpooledBatch]) -> [SpooledBatch]
    ) {
        state.withLock { $0.exporter = Exporter(usedBytes: usedBytes, exchange: exchange) }
        openDirectory()
    }

    /// Writes a batch that the exporter keeps from now on.
    func append(_ batch: SpooledBatch) {
        let isTooMuch = state.withLock { state in
            guard state.isMirror, !state.isClosed else { return false }
            state.operations.append(.append(batch))
            state.queuedBytes += batch.batch.frame.readableBytes
            if batch.agentID == configuration.agentID { state.newest = batch.batch.sequence }
            return state.queuedBytes + state.begunBytes > configuration.maximumBytes / 8 + (1 << 20)
        }
        // Bounds the memory of batches that a slow disk has not taken yet.
        if isTooMuch { fail(SpoolError(.slow, "cannot write to \(configuration.directory) as fast as batches arrive")) }
        work()
    }

    /// Records that batches are acknowledged and no longer kept.
    ///
    /// - Parameters:
    ///   - frameBytes: Bytes of their frames.
    ///   - oldest: The oldest batch that is still kept.
    func acknowledge(_ keys: [BatchKey], frameBytes: Int, oldest: BatchKey?) {
        state.withLock { state in
            guard !state.isClosed else { return }
            if state.isMirror {
                state.operations.append(.acknowledge(keys, frameBytes: frameBytes))
            } else if let newest = state.newest, isOver(newest, oldest: oldest) {
                // The log has missed these acknowledgements, and must not restore batches that are in ClickHouse.
                state.newest = nil
                state.operations.append(.clear)
            }
        }
        work()
    }

    /// Records the block in which a server inserts these batches, and calls `body` on the event loop as soon as a successor
    /// would find the record, the directory has failed, or `deadline` has passed.
    func record(
        _ block: AnnouncedBlock, of keys: [BatchKey], before deadline: NIODeadline,
        _ body: @escaping @Sendable () -> Void
    ) {
        let promise = state.withLock { state -> EventLoopPromise<Void>? in
            guard state.isMirror, !state.isClosed else { return nil }
            let promise = eventLoop.makePromise(of: Void.self)
            state.operations.append(.record(block, keys))
            state.performed.append(promise)
            return promise
        }
        guard let promise else { return body() }
        let timeout = eventLoop.scheduleTask(deadline: deadline) { promise.succeed() }
        promise.futureResult.whenComplete { _ in
            timeout.cancel()
            body()
        }
        work()
    }

    /// Returns whether a log is obsolete, given `newest`, its last batch of this process: all batches in it are
    /// acknowledged.
    private func isOver(_ newest: UInt64, oldest: BatchKey?) -> Bool {
        oldest.map { $0.agentID == configuration.agentID && $0.sequence > newest } ?? true
    }

    /// Rewrites the log with all kept batches.
    func replace(with batches: [SpooledBatch]) {
        state.withLock { state in
            guard !state.isClosed else { return }
            // A failure has dropped the records of the last acknowledgements. The old log must not restore these
            // batches, even if there is no space for a new one.
            let isObsolete = !state.isMirror && batches.isEmpty && state.newest != nil
            state.isMirror = true
            state.isReplacementAsked = false
            state.dropRecords()
            if isObsolete { state.operations.append(.clear) }
            state.begunNumber += 1
            state.operations.append(.replace(batches, number: state.begunNumber))
            state.newest = batches.last { $0.agentID == configuration.agentID }?.batch.sequence ?? 0
        }
        work()
    }

    /// Calls `body` on the event loop as soon as a predecessor's batches are restored and merged batches are written,
    /// or the directory has failed.
    ///
    /// Until then no batch may be sent: if this process were killed, its successor would restore the unmerged batches
    /// and send them in addition to their sum. A disk that hangs delays a connection until `deadline` at most.
    func whenSettled(before deadline: NIODeadline, _ body: @escaping @Sendable () -> Void) {
        let promise = state.withLock { state -> EventLoopPromise<Void>? in
            guard !state.isSettled, .now() < deadline else { return nil }
            let promise = eventLoop.makePromise(of: Void.self)
            state.settled.append(promise)
            return promise
        }
        guard let promise else { return body() }
        eventLoop.scheduleTask(deadline: deadline) { promise.succeed() }
        // More batches may have been merged before this callback runs.
        promise.futureResult.whenComplete { _ in self.whenSettled(before: deadline, body) }
    }

    /// Performs the remaining operations, closes the directory and ends the spool's thread, within `limit`. If the disk
    /// hangs for longer, the thread ends when the disk responds.
    ///
    /// - Returns: Whether the directory holds every kept batch.
    func close(within limit: TimeAmount) -> EventLoopFuture<Bool> {
        let promise = eventLoop.makePromise(of: Bool.self)
        state.withLock { state in
            state.isClosed = true
            state.operations.append(.close(promise))
        }
        work()
        let deadline = eventLoop.scheduleTask(in: limit) { promise.succeed(false) }
        return promise.futureResult.map { holdsAll in
            deadline.cancel()
            return holdsAll
        }
    }

    private func openDirectory() {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.begunNumber += 1
            state.operations.append(.open(number: state.begunNumber))
        }
        work()
    }

    private var exporter: Exporter? { state.withLock { $0.exporter } }

    /// Passes a predecessor's batches to the exporter, and rewrites the log with all batches that it then keeps.
    private func replaceLog(restoring batches: [SpooledBatch] = []) {
        guard let exporter else { return }
        replace(with: exporter.exchange(batches))
    }

    // MARK: - On the spool's thread

    /// Starts the thread on the operations, unless it is already busy.
    private func work() {
        let idleThread = state.withLock { state -> OwnedThread? in
            guard !state.isThreadBusy, !state.operations.isEmpty else { return nil }
            state.isThreadBusy = state.thread != nil
            return state.thread
        }
        idleThread?.submit {
            while let (operations, performed) = self.state.withLock({ $0.takeOperations() }) {
                self.disk.withLock { self.perform(operations, &$0) }
                for promise in performed { promise.succeed() }
            }
        }
    }

    private func perform(_ operations: [Operation], _ disk: inout Disk) {
        do throws(SpoolError) {
            for operation in operations { try perform(operation, &disk) }
            try disk.directory.flush()
        } catch {
            disk.directory.dropUnwritten()
            fail(error)
        }
        shrinkOrSync(disk)
        for case .close(let promise) in operations {
            disk.directory.close()
            let holdsAll = state.withLock { $0.isMirror }
            // Releases the thread, which ends after this operation.
            _ = state.withLock { $0.thread.take() }
            promise.succeed(holdsAll)
        }
    }

    private func perform(_ operation: Operation, _ disk: inout Disk) throws(SpoolError) {
        switch operation {
        case .open(let number):
            var found = try disk.directory.open(usedBytes: exporter?.usedBytes() ?? 0, without: disk.known)
            // A log that could not be rewritten is read again; its damaged stretches count once.
            if disk.wasRead { found.contents.damagedStretches = 0 }
            disk.known.formUnion(found.contents.agentIDs)
            disk.wasRead = true
            restore(found, number: number)
        case .append(let batch):
            try disk.directory.append(batch)
        case .acknowledge(let keys, let frameBytes):
            disk.directory.append(acknowledged: keys, frameBytes: frameBytes)
        case .record(let block, let keys):
            disk.directory.append(block, with: keys)
        case .replace(let batches, let number):
            try disk.directory.replace(with: batches)
            synced(&disk)
            replaced(number)
        case .clear:
            try disk.directory.clear()
        case .sync:
            state.withLock { $0.isSyncScheduled = false }
            try sync(&disk)
        case .close:
            try sync(&disk)
        }
    }

    /// Passes a predecessor's batches to the exporter, and has the log rewritten.
    private func restore(_ found: SpoolDirectory.Found, number: Int) {
        let contents = found.contents
        state.withLock {
            $0.statistics.corruptRecords += UInt64(contents.damagedRecords)
            $0.statistics.corrupt += contents.damaged
            $0.statistics.excess += contents.excess
            if found.setAside != nil { $0.statistics.corruptFiles += 1 }
        }
        tell(found)
        eventLoop.execute {
            self.replaceLog(restoring: contents.batches)
            self.ended(number)
        }
    }

    private func tell(_ found: SpoolDirectory.Found) {
        let directory: Logger.Metadata = ["directory": "\(configuration.directory)"]
        let contents = found.contents
        if let reason = found.setAside {
            logger.error(
                "cannot use the spool file; renamed it to spool.corrupt.1",
                metadata: directory.merging(["reason": "\(reason)"]) { $1 })
        }
        if contents.damagedRecords > 0 {
            logger.error(
                "records of the spool file are damaged: the batches in them are lost",
                metadata: directory.merging([
                    "records": "\(contents.damagedRecords)", "flows": "\(contents.damaged.flows)",
                    "bytes": "\(contents.damaged.bytes)",
                ]) { $1 })
        }
        if contents.excess.flows > 0 {
            logger.error(
                "the spool file holds more than SPOOL_BYTES: the batches beyond it are lost",
                metadata: directory.merging([
                    "flows": "\(contents.excess.flows)", "bytes": "\(contents.excess.bytes)",
                ]) { $1 })
        }
        if !contents.batches.isEmpty {
            let amount = contents.batches.reduce(into: FlowAmount()) { $0 += $1.batch.amount }
            logger.notice(
                "restored unacknowledged batches of an earlier agent process",
                metadata: directory.merging([
                    "batches": "\(contents.batches.count)", "flows": "\(amount.flows)", "bytes": "\(amount.bytes)",
                ]) { $1 })
        }
    }

    private func sync(_ disk: inout Disk) throws(SpoolError) {
        try disk.directory.flush()
        guard disk.directory.isDirty else { return }
        try disk.directory.sync()
        synced(&disk)
    }

    private func synced(_ disk: inout Disk) {
        disk.lastSync = .now()
        state.withLock { $0.statistics.lastSync = WallClock.now() / .seconds(1) }
    }

    private func replaced(_ number: Int) {
        let hadProblem = state.withLock { state in
            defer { state.statistics.problem = nil }
            state.backoff.reset()
            return state.statistics.problem != nil
        }
        if hadProblem {
            logger.notice(
                "the spool directory is usable and holds all unacknowledged batches",
                metadata: ["directory": "\(configuration.directory)"])
        }
        ended(number)
    }

    /// Has the log rewritten if records of acknowledged batches take more than a quarter of the limit, and schedules
    /// the next sync.
    private func shrinkOrSync(_ disk: Disk) {
        let directory = disk.directory
        let (shrinks, syncs) = state.withLock { state in
            state.statistics.logBytes = directory.logBytes
            let mayShrink = state.isMirror && !state.isReplacementAsked
            let shrinks = mayShrink && directory.shrinkableBytes > configuration.maximumBytes / 4
            let syncs = state.isMirror && !state.isSyncScheduled && directory.isDirty
            if shrinks { state.isReplacementAsked = true }
            if syncs { state.isSyncScheduled = true }
            return (shrinks, syncs)
        }
        if shrinks {
            eventLoop.execute {
                if self.state.withLock({ $0.isReplacementAsked }) { self.replaceLog() }
            }
        }
        if syncs {
            eventLoop.scheduleTask(deadline: disk.lastSync + configuration.syncInterval) {
                self.state.withLock { $0.operations.append(.sync) }
                self.work()
            }
        }
    }

    // MARK: - Failures, on any thread

    private func ended(_ number: Int) {
        let settled = state.withLock { state in
            state.endedNumber = max(state.endedNumber, number)
            return state.takeSettled()
        }
        for promise in settled { promise.succeed() }
    }

    private func fail(_ error: SpoolError) {
        let (isNew, wait, settled) = state.withLock { state in
            let isNew = state.statistics.errors[error.kind] == nil || state.statistics.problem == nil
            state.isMirror = false
            state.isReplacementAsked = false
            state.dropRecords()
            state.statistics.problem = "\(error); \(error.remedy)"
            state.statistics.errors[error.kind, default: 0] += 1
            state.endedNumber = state.begunNumber
            return (isNew, state.backoff.next(), state.takeSettled() + state.takePerformed())
        }
        for promise in settled { promise.succeed() }
        if isNew {
            logger.log(
                level: error.isPassing ? .warning : .error,
                "cannot use the spool directory; unacknowledged batches are kept in memory only until it is usable again",
                metadata: [
                    "directory": "\(configuration.directory)", "error": "\(error)", "reason": "\(error.kind.rawValue)",
                    "remedy": "\(error.remedy)",
                ])
        }
        eventLoop.scheduleTask(in: TimeAmount(wait)) { self.openDirectory() }
    }
}
