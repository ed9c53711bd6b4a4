// SPDX-License-Identifier: Apache-2.0

package import ClickHouse
import FlowIngest
package import FlowWire
import HTTPClient
package import Logging
import LogLimits
package import Retry
import Synchronization
import Threads

/// Finds out for agents whether blocks that other server processes may have inserted are in ClickHouse.
///
/// Agents that come from one server ask for the same few blocks. Each block is settled once; its fate is remembered for
/// those that ask later.
package final class DoubtSettlement: DoubtSettler {
    /// The batches of agents and the bytes that they report, by the fate of their blocks.
    package struct Statistics: Sendable {
        package var batches: [SettledDoubt.Fate: UInt64] = [:]
        package var reportedBytes: [SettledDoubt.Fate: UInt64] = [:]
    }

    private struct Question: Sendable {
        let doubts: [Doubt]
        let asked = ContinuousClock.now
        let isWanted: @Sendable () -> Bool
        let settled: @Sendable ([SettledDoubt]) -> Void
    }

    private struct State {
        /// Questions that the thread has not taken.
        var questions: [Question] = []
        var statistics = Statistics()
        var isStopped = false
    }

    /// The age from which a block is fenced. Up to `InsertQueue.safeAge`, 2 s less, the block's own server acknowledges
    /// an insert without a check for a fence: no fence may be inserted in that time.
    static let minimumAge = Duration.seconds(6)
    /// Reported ages of a block that differ by up to this much count as equal: messages are delayed.
    private static let ageTolerance = Duration.seconds(10)
    /// The number of blocks settled before agents get answers: each takes some 10 ms.
    private static let blocksAtOnce = 64
    /// The number of fates that are remembered.
    private static let rememberedFates = 4_096

    private let settle: @Sendable ([DoubtfulBlock]) throws(ClickHouseError) -> [BlockFate]
    private let cancel: @Sendable () -> Void
    private let backoff: Backoff
    private let minimumAge: Duration
    private let logger: Logger
    private let state = Mutex(State())
    private let changed = ChangeNotifier()

    /// Makes a service with a thread of its own.
    ///
    /// - Parameters:
    ///   - backoff: The wait after a failure.
    ///   - minimumAge: The age from which a block is fenced.
    ///   - logger: The log.
    ///   - settle: Settles blocks, and throws while ClickHouse cannot be asked.
    ///   - cancel: Ends a running call of `settle`.
    package init(
        backoff: Backoff = .insert, minimumAge: Duration = minimumAge, logger: Logger,
        settle: @escaping @Sendable ([DoubtfulBlock]) throws(ClickHouseError) -> [BlockFate],
        cancel: @escaping @Sendable () -> Void
    ) {
        self.settle = settle
        self.cancel = cancel
        self.backoff = backoff
        self.minimumAge = minimumAge
        self.logger = logger
        OwnedThread.start(name: "doubts") { self.run() }
    }

    /// Makes a service that settles the blocks of a table.
    convenience init(_ configuration: ClickHouseClient.Configuration, _ schema: TableSchema, logger: Logger) {
        let cancellation = HTTPCancellation()
        let fence = BlockFence(configuration: configuration, schema: schema, cancellation: cancellation)
        self.init(logger: logger) { blocks throws(ClickHouseError) in
            try fence.settle(blocks)
        } cancel: {
            cancellation.cancel()
        }
    }

    package var statistics: Statistics { state.withLock { $0.statistics } }

    func settle(
        _ doubts: [Doubt], isWanted: @escaping @Sendable () -> Bool,
        settled: @escaping @Sendable ([SettledDoubt]) -> Void
    ) {
        state.withLock { $0.questions.append(Question(doubts: doubts, isWanted: isWanted, settled: settled)) }
        changed.notify()
    }

    /// Ends the thread. Questions are not answered any more: the agents ask another server.
    package func stop() {
        state.withLock { $0.isStopped = true }
        cancel()
        changed.notify()
    }

    // MARK: - The thread

    private func run() {
        var (questions, fates) = ([Question](), Fates(limit: Self.rememberedFates))
        var (backoff, logLimit) = (backoff, LogLimit<String>(per: .seconds(10)))
        while true {
            let (new, isStopped) = state.withLock { state in
                defer { state.questions = [] }
                return (state.questions, state.isStopped)
            }
            if isStopped { return }
            questions += new
            questions.removeAll { !$0.isWanted() }
            answer(&questions, from: fates)
            let (blocks, wait) = nextBlocks(of: questions, notIn: fates)
            guard !blocks.isEmpty else {
                changed.block(atMost: wait) { state.withLock { !$0.questions.isEmpty || $0.isStopped } }
                continue
            }
            do throws(ClickHouseError) {
                let begun = ContinuousClock.now
                for (block, fate) in zip(blocks, try settle(blocks)) {
                    fates.remember(fate, of: BlockKey(block), announcedBefore: begun - block.age)
                }
                backoff.reset()
            } catch {
                if let suppressed = logLimit.admit(error.reason, at: .now) {
                    logger.warning(
                        "cannot find out whether blocks of another server are stored; the agents wait",
                        metadata: ["error": "\(error)", "blocks": "\(blocks.count)", "not_logged": "\(suppressed)"])
                }
                changed.block(atMost: backoff.next()) { state.withLock { $0.isStopped } }
            }
        }
    }

    /// Returns the next blocks to settle, or none and the time until one is old enough. The age of a block is the
    /// greatest that an agent tells.
    private func nextBlocks(of questions: [Question], notIn fates: Fates) -> ([DoubtfulBlock], wait: Duration) {
        let now = ContinuousClock.now
        var (ages, wait): ([BlockKey: Duration], Duration) = ([:], .seconds(3_600))
        for question in questions {
            for doubt in question.doubts where fates.fate(of: doubt, askedAt: question.asked) == nil {
                let (key, age) = (BlockKey(doubt), doubt.age + (now - question.asked))
                if age < minimumAge {
                    wait = min(wait, minimumAge - age)
                } else if ages[key] != nil || ages.count < Self.blocksAtOnce {
                    ages[key] = max(age, ages[key] ?? .zero)
                }
            }
        }
        return (ages.map { DoubtfulBlock(token: $0.key.token, day: $0.key.day, age: $0.value) }, wait)
    }

    /// Answers the questions all of whose blocks are settled.
    private func answer(_ questions: inout [Question], from fates: Fates) {
        questions.removeAll { question in
            let settled = question.doubts.compactMap { doubt in
                fates.fate(of: doubt, askedAt: question.asked).map { (doubt, $0) }
            }
            guard settled.count == question.doubts.count else { return false }
            count(settled)
            question.settled(settled.map { SettledDoubt(token: $0.token, fate: SettledDoubt.Fate($1)) })
            return true
        }
    }

    private func count(_ settled: [(doubt: Doubt, fate: BlockFate)]) {
        state.withLock { state in
            for (doubt, fate) in settled {
                state.statistics.batches[SettledDoubt.Fate(fate), default: 0] += UInt64(doubt.batches)
                state.statistics.reportedBytes[SettledDoubt.Fate(fate), default: 0] &+= doubt.reportedBytes
            }
        }
        let uncertain = settled.filter { if case .uncertain = $0.fate { true } else { false } }
        guard let first = uncertain.first, case .uncertain(let reason) = first.fate else { return }
        logger.warning(
            "batches of another server may be stored twice",
            metadata: [
                "batches": "\(uncertain.reduce(0) { $0 + UInt64($1.doubt.batches) })",
                "bytes": "\(uncertain.reduce(0) { $0 &+ $1.doubt.reportedBytes })", "reason": "\(reason)",
            ])
    }
}

extension DoubtSettlement {
    /// A block. ClickHouse deduplicates by partition, so that a token alone does not name one.
    private struct BlockKey: Hashable {
        let token: UInt128
        let day: UInt16

        init(_ doubt: Doubt) { (token, day) = (doubt.token, doubt.day) }

        init(_ block: DoubtfulBlock) { (token, day) = (block.token, block.day) }
    }

    /// The fates of the blocks that were settled last.
    private struct Fates {
        private struct Entry {
            let fate: BlockFate
            /// The time before which the block was announced, as far as agents had told.
            let announcedBefore: ContinuousClock.Instant
        }

        private let limit: Int
        private var entries: [BlockKey: Entry] = [:]
        private var order: [BlockKey] = []

        init(limit: Int) { self.limit = limit }

        /// Returns the fate of an agent's block; nil if it is unknown, or if it was found for a block that was announced
        /// later than the agent tells: ClickHouse may have restarted in between.
        func fate(of doubt: Doubt, askedAt asked: ContinuousClock.Instant) -> BlockFate? {
            guard let entry = entries[BlockKey(doubt)],
                asked - doubt.age >= entry.announcedBefore - DoubtSettlement.ageTolerance
            else { return nil }
            return entry.fate
        }

        mutating func remember(
            _ fate: BlockFate, of key: BlockKey, announcedBefore time: ContinuousClock.Instant
        ) {
            let entry = Entry(fate: fate, announcedBefore: time)
            if entries.updateValue(entry, forKey: key) == nil { order.append(key) }
            guard order.count > 2 * limit else { return }
            for old in order.prefix(limit) { entries[old] = nil }
            order.removeFirst(limit)
        }
    }
}

extension SettledDoubt.Fate {
    fileprivate init(_ fate: BlockFate) {
        switch fate {
        case .stored: self = .stored
        case .notStored: self = .notStored
        case .uncertain: self = .uncertain
        }
    }
}
