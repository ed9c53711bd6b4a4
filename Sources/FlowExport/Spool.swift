// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Logging
import NIOCore
import NIOPosix
import Retry
import Synchronization

/// Keeps a copy of an exporter's unacknowledged batches in a directory, from which the next agent process restores them
/// where this one is killed.
///
/// Memory stays the truth: a batch is written in the moment in which it is kept, its acknowledgement likewise, and whenever
/// the log has to shrink, or has missed something, it is rewritten from memory in one step. So whatever the disk does
/// costs the copy and never a batch: while the directory fails, the exporter works as it does without one, and the attempt
/// is repeated.
///
/// All methods but ``start(usedBytes:exchange:)`` are called on the event loop; all file I/O is done on a thread of the spool's own.
final class Spool: Sendable {
    /// Where batches are kept.
    struct Configuration: Sendable {
        /// The directory (SPOOL_DIRECTORY); it is made where its parent exists.
        var directory: String
        /// The bound on unacknowledged frames in bytes (SPOOL_BYTES). The log grows to one and a quarter of it; while it is
        /// written anew, the old and the new one are there.
        var maximumBytes: Int
        /// The node whose batches are kept.
        var nodeName: String
        /// The agent process that numbers new batches.
        var agentID: AgentID
        /// The time between two calls of fsync(2), and so what a crash of the node may cost. A process that is killed loses
        /// less: what is written is the kernel's.
        var syncInterval = TimeAmount.seconds(1)
        /// The wait before the directory is tried again.
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(30))
    }

    private enum Operation {
        case open(number: Int)
        case append(SpooledBatch)
        case acknowledge([BatchKey], frameBytes: Int)
        case replace([SpooledBatch], number: Int)
        case clear
        case sync
        case close(EventLoopPromise<Bool>)
    }

    /// What the exporter does for the spool.
    private struct Exporter {
        let usedBytes: @Sendable () -> Int
        let exchange: @Sendable ([SpooledBatch]) -> [SpooledBatch]
    }

    private struct State {
        var exporter: Exporter?
        /// Operations that the thread has not begun.
        var operations: [Operation] = []
        /// Bytes of the frames in them, and of those in the operations that the thread is at.
        var (queuedBytes, begunBytes) = (0, 0)
        var isThreadBusy = false
        /// Whether the log and the operations hold everything that the exporter keeps.
        var isMirror = false
        /// The highest of this process's sequence numbers that the log may hold; nil where it holds nothing.
        var newest: UInt64?
        /// The last attempt to open or to rewrite, and the last that is over.
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

        /// The operations for the thread; nil, and the thread is idle, where there are none.
        mutating func takeOperations() -> [Operation]? {
            defer { (operations, queuedBytes, begunBytes) = ([], 0, queuedBytes) }
            isThreadBusy = !operations.isEmpty
            return isThreadBusy ? operations : nil
        }

        /// Drops what a log needs no longer that is rewritten, or not at all.
        mutating func dropRecords() {
            queuedBytes = 0
            operations.removeAll {
                switch $0 {
                case .append, .acknowledge, .replace, .clear: true
                case .open, .sync, .close: false
                }
            }
        }
    }

    /// What only the spool's thread touches.
    private struct Disk {
        var directory: SpoolDirectory
        /// Agent processes whose batches are, or have been, in memory: a log that is opened again is not read twice.
        var known: Set<AgentID>
        /// Whether a log has been read.
        var wasRead = false
        var lastSync = NIODeadline.now()
    }

    private let configuration: Configuration
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let thread = NIOThreadPool(numberOfThreads: 1)
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

    /// What has become of the directory so far.
    var statistics: SpoolStatistics { state.withLock { $0.statistics } }

    // MARK: - What the exporter tells

    /// Opens the directory.
    ///
    /// - Parameters:
    ///   - usedBytes: Bytes of frames that the exporter keeps; called on any thread.
    ///   - exchange: Gives the exporter what a predecessor has left, and returns everything that it then keeps.
    func start(
        usedBytes: @escaping @Sendable () -> Int,
        exchange: @escaping @Sendable (_ restored: [SpooledBatch]) -> [SpooledBatch]
    ) {
        thread.start()
        state.withLock { $0.exporter = Exporter(usedBytes: usedBytes, exchange: exchange) }
        openDirectory()
    }

    /// A batch is kept from now on.
    func append(_ batch: SpooledBatch) {
        let isTooMuch = state.withLock { state in
            guard state.isMirror, !state.isClosed else { return false }
            state.operations.append(.append(batch))
            state.queuedBytes += batch.batch.frame.readableBytes
            if batch.agentID == configuration.agentID { state.newest = batch.batch.sequence }
            return state.queuedBytes + state.begunBytes > configuration.maximumBytes / 8 + (1 << 20)
        }
        // Memory must not fill with what a slow disk has not taken.
        if isTooMuch { fail(SpoolError(.slow, "cannot write \(configuration.directory) as fast as batches come")) }
        work()
    }

    /// Batches are acknowledged and no longer kept.
    ///
    /// - Parameters:
    ///   - frameBytes: Bytes of their frames.
    ///   - oldest: The oldest batch that is still kept.
    func acknowledge(_ keys: [BatchKey], frameBytes: Int, oldest: BatchKey?) {
        state.withLock { state in
            if state.isMirror {
                state.operations.append(.acknowledge(keys, frameBytes: frameBytes))
            } else if let newest = state.newest, isOver(newest, oldest: oldest) {
                // The log missed these acknowledgements. It must not bring back what ClickHouse has.
                state.newest = nil
                state.operations.append(.clear)
            }
        }
        work()
    }

    /// Whether everything is acknowledged that a log holds whose last batch of this process is `newest`.
    private func isOver(_ newest: UInt64, oldest: BatchKey?) -> Bool {
        oldest.map { $0.agentID == configuration.agentID && $0.sequence > newest } ?? true
    }

    /// Rewrites the log with everything that is kept.
    func replace(with batches: [SpooledBatch]) {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.isMirror = true
            state.isReplacementAsked = false
            state.dropRecords()
            state.begunNumber += 1
            state.operations.append(.replace(batches, number: state.begunNumber))
            state.newest = batches.last { $0.agentID == configuration.agentID }?.batch.sequence ?? 0
        }
        work()
    }

    /// Calls `body` on the event loop as soon as what a predecessor has left is restored and merged batches are written, or
    /// the directory has failed.
    ///
    /// Until then nothing may be sent: were this process killed, its successor would restore what was merged, and send it
    /// beside the sum. A disk that hangs holds up no connection beyond `deadline`.
    func whenSettled(before deadline: NIODeadline, _ body: @escaping @Sendable () -> Void) {
        let promise = state.withLock { state -> EventLoopPromise<Void>? in
            guard !state.isSettled, .now() < deadline else { return nil }
            let promise = eventLoop.makePromise(of: Void.self)
            state.settled.append(promise)
            return promise
        }
        guard let promise else { return body() }
        eventLoop.scheduleTask(deadline: deadline) { promise.succeed() }
        // By the time that the event loop hears of it, more may have been merged.
        promise.futureResult.whenComplete { _ in self.whenSettled(before: deadline, body) }
    }

    /// Writes what is left to write and gives the directory up, within `limit`.
    ///
    /// - Returns: Whether the directory holds everything that is kept.
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
            self.thread.shutdownGracefully { _ in }
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

    /// Gives the exporter what a predecessor has left, and rewrites the log with all that it then keeps.
    private func replaceLog(restoring batches: [SpooledBatch] = []) {
        guard let exporter else { return }
        replace(with: exporter.exchange(batches))
    }

    // MARK: - On the thread

    /// Has the thread do what there is to do.
    private func work() {
        let isIdle = state.withLock { state in
            guard !state.isThreadBusy, !state.operations.isEmpty else { return false }
            state.isThreadBusy = true
            return true
        }
        guard isIdle else { return }
        thread.submit { _ in
            while let operations = self.state.withLock({ $0.takeOperations() }) {
                self.disk.withLock { self.perform(operations, &$0) }
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
            promise.succeed(state.withLock { $0.isMirror })
        }
    }

    private func perform(_ operation: Operation, _ disk: inout Disk) throws(SpoolError) {
        switch operation {
        case .open(let number):
            var found = try disk.directory.open(usedBytes: exporter?.usedBytes() ?? 0, without: disk.known)
            // A log that could not be rewritten is read again: what it has lost counts once.
            if disk.wasRead { found.contents.damagedStretches = 0 }
            disk.known.formUnion(found.contents.agentIDs)
            disk.wasRead = true
            restore(found, number: number)
        case .append(let batch):
            try disk.directory.append(batch)
        case .acknowledge(let keys, let frameBytes):
            disk.directory.append(acknowledged: keys, frameBytes: frameBytes)
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

    /// Hands on what a predecessor has left, and has the log rewritten.
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
                "the spool file cannot be used and is kept as spool.corrupt.1",
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
                "the spool directory holds more than SPOOL_BYTES: the rest is lost",
                metadata: directory.merging([
                    "flows": "\(contents.excess.flows)", "bytes": "\(contents.excess.bytes)",
                ]) { $1 })
        }
        if !contents.batches.isEmpty {
            let amount = contents.batches.reduce(into: FlowAmount()) { $0 += FlowAmount($1.batch) }
            logger.notice(
                "restored batches that an earlier agent process had not got acknowledged",
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
        state.withLock { $0.statistics.lastSync = UnixTime.now() }
    }

    private func replaced(_ number: Int) {
        let hadProblem = state.withLock { state in
            defer { state.statistics.problem = nil }
            state.backoff.reset()
            return state.statistics.problem != nil
        }
        if hadProblem {
            logger.notice(
                "the spool directory holds everything that is unacknowledged",
                metadata: ["directory": "\(configuration.directory)"])
        }
        ended(number)
    }

    /// Has a log rewritten that is mostly of acknowledged batches, and syncs another when its time has come.
    private func shrinkOrSync(_ disk: Disk) {
        let directory = disk.directory
        let (shrinks, syncs) = state.withLock { state in
            state.statistics.logBytes = directory.logBytes
            let shrinks =
                state.isMirror && !state.isReplacementAsked && directory.deadBytes > configuration.maximumBytes / 4
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
            return (isNew, state.backoff.next(), state.takeSettled())
        }
        for promise in settled { promise.succeed() }
        if isNew {
            logger.log(
                level: error.isPassing ? .warning : .error,
                "the spool directory cannot be used: unacknowledged batches are in memory alone until it can",
                metadata: [
                    "directory": "\(configuration.directory)", "error": "\(error)", "reason": "\(error.kind.rawValue)",
                    "remedy": "\(error.remedy)",
                ])
        }
        eventLoop.scheduleTask(in: TimeAmount(wait)) { self.openDirectory() }
    }
}
