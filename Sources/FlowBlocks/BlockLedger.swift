// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Synchronization

/// The single account of flows and of the memory of blocks, from the receipt of a batch until sinks have settled its
/// rows.
///
/// Every change is made under one lock. At any moment, each flow received is in exactly one place: ignored, dropped,
/// withdrawn, in a block that is being filled, or in a sink's statistics. The memory limit covers the blocks that are being filled
/// and those that sinks hold; above it, the server stops reading from agents until memory is down to half of the limit.
public final class BlockLedger: Sendable {
    /// All counts at one moment.
    public struct Statistics: Sendable {
        /// Counts of flows before they are handed to sinks.
        public var flows = FlowAssembler.Statistics()
        /// The memory of blocks that are being filled, and the limit.
        public var memory = Memory()
        /// Statistics of each sink, in the order in which the accounts were opened.
        public var sinks: [SinkStatistics] = []
    }

    /// The memory of blocks that are being filled, and the limit on all blocks.
    public struct Memory: Equatable, Sendable {
        /// Memory of blocks that are being filled, in bytes.
        public var gatheringBytes = 0
        /// The limit on the memory of all blocks, being filled or held by sinks, in bytes.
        public var maximumBytes = 0
        /// The total time under pressure: from exceeding the limit until memory is down to half of it.
        public var pressureTime = Duration.zero

        /// Makes counts of no blocks.
        public init() {}
    }

    /// The pressure announced last, and the handlers to call.
    private struct Announcement {
        var isUnderPressure = false
        var handlers: [@Sendable (Bool) -> Void] = []
    }

    private let state: Mutex<State>
    private let announcement = Mutex(Announcement())

    /// Makes a ledger without flows.
    ///
    /// - Parameter maximumBytes: The limit on the memory of blocks, being filled or held by sinks, in bytes.
    public init(maximumBytes: Int) { state = Mutex(State(maximumBytes: maximumBytes)) }

    /// Opens the account of another sink.
    public func openAccount() -> SinkAccount {
        SinkAccount(
            ledger: self,
            index: update { state in
                state.sinks.append(SinkState())
                return state.sinks.count - 1
            })
    }

    /// The current counts.
    public var statistics: Statistics { read { $0.statistics } }

    /// True from the moment the memory limit is exceeded until memory is down to half of the limit.
    public var isUnderPressure: Bool { read { $0.pressureSince != nil } }

    /// Registers a handler that is called with true when pressure begins, immediately if it has begun, and with false
    /// when it ends: from any thread, one call at a time, the last call being the current state. The handler must not
    /// call the ledger.
    public func addPressureHandler(_ handler: @escaping @Sendable (Bool) -> Void) {
        announcement.withLock { announcement in
            announcement.handlers.append(handler)
            if announcement.isUnderPressure { handler(true) }
        }
    }

    /// Records the counts of a batch's flows, and the block that they were added to.
    func record(_ counted: FlowAssembler.Statistics, filling block: FlowBlock) {
        let gathered = Gathered(block)
        update { state in
            state.flows += counted
            if block.rows > 0 { state.gather(gathered, in: block.number) }
        }
    }

    /// Records batches that were withdrawn from a block that is being filled.
    func record(_ withdrawal: BlockWithdrawal, from block: FlowBlock) {
        let gathered = Gathered(block)
        update { state in
            state.flows.withdrawn.flows += withdrawal.amount.flows
            state.flows.withdrawn.bytes &+= withdrawal.amount.reportedBytes
            if withdrawal.isComplete {
                state.endGathering(block)
            } else {
                state.gather(gathered, in: block.number)
            }
        }
    }

    /// Reads the state.
    func read<Result: Sendable>(_ look: (borrowing State) -> Result) -> Result { state.withLock { look($0) } }

    /// Changes the state, and announces pressure that the change begins or ends.
    func update<Result: Sendable>(_ change: (inout State) -> Result) -> Result {
        let (result, hasChanged) = state.withLock { state in
            let result = change(&state)
            return (result, state.updatePressure())
        }
        if hasChanged { announcePressure() }
        return result
    }

    /// Calls the handlers if pressure has begun or ended. It reads the state again under the announcement's lock, so
    /// that of several threads the last one announces the current state.
    private func announcePressure() {
        announcement.withLock { announcement in
            let isUnderPressure = isUnderPressure
            guard isUnderPressure != announcement.isUnderPressure else { return }
            announcement.isUnderPressure = isUnderPressure
            // Spare memory makes the next block cheaper, but under pressure it is better freed.
            if isUnderPressure { FlowBlock.releaseSpareMemory() }
            for handler in announcement.handlers { handler(isUnderPressure) }
        }
    }
}

extension BlockLedger {
    /// The amounts in a block that is being filled.
    struct Gathered: Sendable {
        var flows: UInt64 = 0
        var bytes: UInt64 = 0
        var memoryBytes = 0

        init() {}

        init(_ block: FlowBlock) {
            (flows, bytes, memoryBytes) = (UInt64(block.flows), block.reportedBytes, block.memoryBytes)
        }
    }

    /// The ledger's state.
    struct State: Sendable {
        let maximumBytes: Int
        var flows = FlowAssembler.Statistics()
        var sinks: [SinkState] = []
        /// Amounts in blocks that are being filled, by block number.
        private var gathered: [UInt64: Gathered] = [:]
        private var gatheringBytes = 0
        /// The start of the current pressure; nil if there is none.
        private(set) var pressureSince: ContinuousClock.Instant?
        private var pressureTime = Duration.zero

        init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

        var statistics: Statistics {
            var memory = Memory()
            (memory.gatheringBytes, memory.maximumBytes) = (gatheringBytes, maximumBytes)
            memory.pressureTime = pressureTime + (pressureSince.map { .now - $0 } ?? .zero)
            return Statistics(flows: flows, memory: memory, sinks: sinks.map(\.statistics))
        }

        /// Records the current amounts of a block that is being filled.
        mutating func gather(_ after: Gathered, in block: UInt64) {
            let before = gathered.updateValue(after, forKey: block) ?? Gathered()
            flows.gathering.flows &+= after.flows &- before.flows
            flows.gathering.bytes &+= after.bytes &- before.bytes
            gatheringBytes += after.memoryBytes - before.memoryBytes
        }

        /// Removes a block that is no longer being filled.
        mutating func endGathering(_ block: FlowBlock) {
            guard let last = gathered.removeValue(forKey: block.number) else { return }
            flows.gathering.flows -= last.flows
            flows.gathering.bytes &-= last.bytes
            gatheringBytes -= last.memoryBytes
        }

        /// Begins or ends pressure; returns true if it changed.
        mutating func updatePressure() -> Bool {
            let bound = maximumBytes / (pressureSince == nil ? 1 : 2)
            let isUnderPressure = sinks.reduce(gatheringBytes) { $0 + $1.heldBytes } > bound
            guard isUnderPressure != (pressureSince != nil) else { return false }
            if let since = pressureSince { pressureTime += .now - since }
            pressureSince = isUnderPressure ? .now : nil
            return true
        }
    }

    /// The account of one sink.
    struct SinkState: Sendable {
        /// Blocks that are not settled, by their numbers in this sink.
        var deliveries: [UInt64: BlockDelivery.State] = [:]
        private var lastNumber: UInt64 = 0
        /// The memory of all these blocks, in bytes.
        private(set) var heldBytes = 0
        private var stored = BlockAmount()
        private var rejected: [String: BlockAmount] = [:]
        private var withdrawn = BlockAmount()

        var statistics: SinkStatistics {
            var statistics = SinkStatistics()
            (statistics.stored, statistics.rejected, statistics.withdrawn) = (stored, rejected, withdrawn)
            statistics.queuedBlocks = deliveries.count
            statistics.queuedBytes = heldBytes
            for delivery in deliveries.values {
                statistics.pendingFlows += UInt64(delivery.pending.flows)
                statistics.pendingBytes &+= delivery.pending.bytes
                statistics.queuedRows += delivery.rows
            }
            let now = ContinuousClock.now
            statistics.oldestAge = deliveries.values.lazy.map(\.begun).min().map { now - $0 }
            statistics.oldestWait = deliveries.values.lazy.filter { !$0.isSetAside }.map(\.submitted).min()
                .map { now - $0 }
            return statistics
        }

        mutating func add(_ delivery: BlockDelivery.State) -> UInt64 {
            lastNumber += 1
            deliveries[lastNumber] = delivery
            heldBytes += delivery.heldBytes
            return lastNumber
        }

        mutating func adjustHeld(_ number: UInt64, rows: Int, bytes: Int) {
            deliveries[number]?.rows += rows
            deliveries[number]?.heldBytes += bytes
            heldBytes += bytes
        }

        mutating func count(_ part: BlockAmount, of number: UInt64, as outcome: BlockOutcome, freeing bytes: Int) {
            deliveries[number]?.pending.flows -= Int(part.flows)
            deliveries[number]?.pending.bytes &-= part.reportedBytes
            adjustHeld(number, rows: 0, bytes: -bytes)
            switch outcome {
            case .stored: stored += part
            case .rejected(let reason):
                rejected[reason, default: BlockAmount()] += part
                if deliveries[number]?.outcome == .stored { deliveries[number]?.outcome = outcome }
            }
        }

        mutating func withdraw(
            _ batches: Set<BatchIdentity>, _ amount: BlockAmount, from number: UInt64, growth: Int
        ) {
            withdrawn += amount
            deliveries[number]?.withdrawn.formUnion(batches)
            deliveries[number]?.pending.flows -= Int(amount.flows)
            deliveries[number]?.pending.bytes &-= amount.reportedBytes
            adjustHeld(number, rows: -Int(amount.rows), bytes: growth)
        }

        mutating func void(
            _ block: BlockAmount, of batches: Set<BatchIdentity>, from number: UInt64, freeing bytes: Int
        ) {
            var amount = block
            amount.blocks = 0
            // The rows stay with the delivery until it is removed, as those of a block that is stored.
            withdraw(batches, amount, from: number, growth: -bytes)
            deliveries[number]?.rows += Int(amount.rows)
            deliveries[number]?.isVoid = true
        }

        mutating func remove(_ number: UInt64) {
            if let delivery = deliveries.removeValue(forKey: number) { heldBytes -= delivery.heldBytes }
        }
    }
}
