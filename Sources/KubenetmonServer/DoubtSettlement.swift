// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import FlowIngest
import FlowWire
import HTTPClient
import Logging
import LogLimits
import Retry
import Synchronization
import Threads

/// Finds out for agents whether blocks that other server processes may have inserted are in ClickHouse.
///
/// Agents that come from one server ask for the same few blocks. Each block is settled once; its fate is remembered for
/// those that ask later.
final class DoubtSettlement: DoubtSettler {
    /// The batches of agents and the bytes that they report, by the fate of their blocks.
    struct Statistics: Sendable {
        var batches: [SettledDoubt.Fate: UInt64] = [:]
        var reportedBytes: [SettledDoubt.Fate: UInt64] = [:]
    }

    private struct Question: Sendable {
        let doubts: [Doubt]
        let settled: @Sendable ([SettledDoubt]) -> Void
    }

    private struct State {
        /// Questions that the thread has not taken.
        var questions: [Question] = []
        var statistics = Statistics()
        var isStopped = false
    }

    /// The number of blocks settled before agents get answers: each takes some 10 ms.
    private static let blocksAtOnce = 64
    /// The number of fates that are remembered.
    private static let rememberedFates = 4_096

    private let settle: @Sendable ([DoubtfulBlock]) throws(ClickHouseError) -> [BlockFate]
    private let cancel: @Sendable () -> Void
    private let backoff: Backoff
    private let logger: Logger
    private let state = Mutex(State())
    private let changed = ChangeNotifier()

    /// Makes a service with a thread of its own.
    ///
    /// - Parameters:
    ///   - backoff: The wait after a failure.
    ///   - logger: The log.
    ///   - settle: Settles blocks, and throws while ClickHouse cannot be asked.
    ///   - cancel: Ends a running call of `settle`.
    init(
        backoff: Backoff = .insert, logger: Logger,
        settle: @escaping @Sendable ([DoubtfulBlock]) throws(ClickHouseError) -> [BlockFate],
        cancel: @escaping @Sendable () -> Void
    ) {
        self.settle = settle
        self.cancel = cancel
        self.backoff = backoff
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

    var statistics: Statistics { state.withLock { $0.statistics } }

    func settle(_ doubts: [Doubt], settled: @escaping @Sendable ([SettledDoubt]) -> Void) {
        state.withLock { $0.questions.append(Question(doubts: doubts, settled: settled)) }
        changed.notify()
    }

    /// Ends the thread. Questions are not answered any more: the agents ask another server.
    func stop() {
        state.withLock { $0.isStopped = true }
        cancel()
        changed.notify()
    }

    // MARK: - The thread

    private func run() {
        var (questions, fates) = ([Question](), Fates(limit: Self.rememberedFates))
        var (backoff, logLimit) = (backoff, LogLimit<String>(per: .seconds(10)))
        while true {
            if questions.isEmpty {
                changed.block(atMost: .seconds(3_600)) { state.withLock { !$0.questions.isEmpty || $0.isStopped } }
            }
            let isStopped = state.withLock { state in
                questions += state.questions
                state.questions = []
                return state.isStopped
            }
            if isStopped { return }
            answer(&questions, from: fates)
            let blocks = Self.blocks(of: questions, notIn: fates)
            guard !blocks.isEmpty else { continue }
            do throws(ClickHouseError) {
                for (block, fate) in zip(blocks, try settle(blocks)) { fates.remember(fate, of: block.token) }
                backoff.reset()
            } catch {
                if let suppressed = logLimit.admit(error.reason, at: .now) {
                    logger.warning(
                        "cannot find out whether blocks of another server are stored; the agents wait",
                        metadata: ["error": "\(error)", "blocks": "\(blocks.count)", "not_logged": "\(suppressed)"])
                }
                changed.block(atMost: backoff.next()) { state.withLock { $0.isStopped } }
            }
            answer(&questions, from: fates)
        }
    }

    /// Returns the next blocks to settle. The age of a block is the greatest that an agent tells.
    private static func blocks(of questions: [Question], notIn fates: Fates) -> [DoubtfulBlock] {
        var ages: [UInt128: (day: UInt16, age: Duration)] = [:]
        for doubt in questions.lazy.flatMap(\.doubts) where fates[doubt.token] == nil {
            guard ages[doubt.token] != nil || ages.count < blocksAtOnce else { continue }
            let age = max(doubt.age, ages[doubt.token]?.age ?? .zero)
            ages[doubt.token] = (doubt.day, age)
        }
        return ages.map { DoubtfulBlock(token: $0.key, day: $0.value.day, age: $0.value.age) }
    }

    /// Answers the questions all of whose blocks are settled.
    private func answer(_ questions: inout [Question], from fates: Fates) {
        questions.removeAll { question in
            let settled = question.doubts.compactMap { doubt in
                fates[doubt.token].map { SettledDoubt(token: doubt.token, fate: SettledDoubt.Fate($0)) }
            }
            guard settled.count == question.doubts.count else { return false }
            count(question.doubts, fates)
            question.settled(settled)
            return true
        }
    }

    private func count(_ doubts: [Doubt], _ fates: Fates) {
        state.withLock { state in
            for doubt in doubts {
                guard let fate = fates[doubt.token].map({ SettledDoubt.Fate($0) }) else { continue }
                state.statistics.batches[fate, default: 0] += UInt64(doubt.batches)
                state.statistics.reportedBytes[fate, default: 0] &+= doubt.reportedBytes
            }
        }
        let uncertain = doubts.filter { if case .uncertain = fates[$0.token] { true } else { false } }
        guard let first = uncertain.first, case .uncertain(let reason) = fates[first.token] else { return }
        logger.warning(
            "batches of another server may be stored twice",
            metadata: [
                "batches": "\(uncertain.reduce(0) { $0 + UInt64($1.batches) })",
                "bytes": "\(uncertain.reduce(0) { $0 &+ $1.reportedBytes })", "reason": "\(reason)",
            ])
    }
}

extension DoubtSettlement {
    /// The fates of the blocks that were settled last.
    private struct Fates {
        private let limit: Int
        private var fates: [UInt128: BlockFate] = [:]
        private var order: [UInt128] = []

        init(limit: Int) { self.limit = limit }

        subscript(_ token: UInt128) -> BlockFate? { fates[token] }

        mutating func remember(_ fate: BlockFate, of token: UInt128) {
            if fates.updateValue(fate, forKey: token) == nil { order.append(token) }
            guard order.count > 2 * limit else { return }
            for old in order.prefix(limit) { fates[old] = nil }
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
