// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import Dispatch
import FlowIngest
import FlowModel
import FlowWire
import Labeling
import Logging
import NIOCore
import Synchronization

/// Labels the flows of one event loop's agents, gathers their rows into blocks and acknowledges the batches of a block
/// once ClickHouse has it.
///
/// A batch's rows are all in one block: a block that is stored settles every batch in it. Each day has a block of its own,
/// since an agent that has been alone for long may send what is of yesterday while others send what is of today.
final class FlowAssembler: FlowSink {
    /// What became of flows.
    struct Statistics: Sendable {
        /// Flows and the network bytes that they report.
        struct Amount: Sendable {
            var flows: UInt64 = 0
            var bytes: UInt64 = 0

            mutating func add(_ flow: Flow) {
                flows += 1
                bytes &+= flow.bytes
            }

            static func += (left: inout Amount, right: Amount) {
                left.flows &+= right.flows
                left.bytes &+= right.bytes
            }
        }

        /// Everything, each batch once.
        var received = Amount()
        var labeled = Amount()
        /// Flows that are labelled and not stored, since nothing is.
        var dropped = Amount()
        /// Flows that are not recorded, by reason.
        var ignored: [String: Amount] = [:]
        /// Flows in blocks that are being filled.
        var gathering = Amount()
        var labels = LabelResults()
        /// Batches whose time could not be true, and which were given that of their arrival.
        var incredibleTimes: UInt64 = 0
        /// Flows whose counters cannot be true, which would spoil every sum that they are part of. They are counted here
        /// and nowhere else.
        var impossibleFlows: UInt64 = 0

        static func + (left: Statistics, right: Statistics) -> Statistics {
            var sum = left
            sum.received += right.received
            sum.labeled += right.labeled
            sum.dropped += right.dropped
            sum.gathering += right.gathering
            sum.labels += right.labels
            sum.incredibleTimes += right.incredibleTimes
            sum.impossibleFlows += right.impossibleFlows
            for (reason, amount) in right.ignored { sum.ignored[reason, default: Amount()] += amount }
            return sum
        }

        /// Every reason for which flows are not recorded.
        static let ignoredReasons = Labeler.IgnoredReason.allCases.map(\.rawValue) + ["ipv6", "empty"]
    }

    /// When a block is sent.
    struct Limits: Sendable {
        var rows: Int
        /// The memory of all blocks that are being filled.
        var bytes: Int
        var age: TimeAmount
    }

    /// What all rows have in common.
    struct RowForm: Sendable {
        /// The value of the column `environment`.
        var environment: String
        /// Whether flows are stored; where not, they are labelled and dropped.
        var isStored = true
        /// Whether the table has columns for IPv6 addresses.
        var hasIPv6 = false
    }

    /// A block that is being filled.
    private struct OpenBlock {
        var block: FlowBlock
        var receipts: [BatchReceipt] = []
        /// Its memory, as far as it was told.
        var gatheredBytes = 0
        /// When it is sent whether or not it is full.
        var expiry: Scheduled<Void>?
    }

    /// So many days have a block at a time. One more sends the block that was begun first.
    private static let maximumOpenBlocks = 3

    /// Where the index is told of agents' addresses: event loops do not wait for its changes.
    private static let queue = DispatchQueue(label: "kubenetmon.host-addresses")

    /// The most flows that are labelled in one go: changes of the index wait for so long.
    private static let flowsAtOnce = 1024

    /// Takes a block, calls `onTaken` at the moment at which it has it and `completion` when the block is settled.
    typealias Send =
        @Sendable (FlowBlock, _ onTaken: () -> Void, _ completion: @escaping @Sendable () -> Void) -> Void

    private let eventLoop: any EventLoop
    private let labeler: Labeler
    private let form: RowForm
    private let limits: Limits
    private let statistics: StatisticsBox
    private let now: @Sendable () -> UInt32
    private let send: Send
    /// Is told by how much the memory of the blocks that are being filled has grown, or shrunk.
    private let gather: @Sendable (_ bytes: Int) -> Void
    /// By their days.
    private var openBlocks: [UInt16: OpenBlock] = [:]
    /// The memory of all of them.
    private var gatheredBytes = 0

    init(
        eventLoop: any EventLoop, labeler: Labeler, form: RowForm, limits: Limits, statistics: StatisticsBox,
        now: @escaping @Sendable () -> UInt32 = ClusterIndex.secondsSinceTheEpoch,
        send: @escaping Send, gather: @escaping @Sendable (_ bytes: Int) -> Void = { _ in }
    ) {
        self.eventLoop = eventLoop
        self.labeler = labeler
        self.form = form
        self.limits = limits
        self.statistics = statistics
        self.now = now
        self.send = send
        self.gather = gather
    }

    func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {
        var counted = Statistics()
        let (second, isCredible) = ObservationTime.second(of: batch.observedAtMilliseconds, now: now())
        if !isCredible { counted.incredibleTimes += 1 }
        let rules = labeler.rules
        var open = takeBlock(dayOf: second, flagNames: rules.flagNames)
        let before = (flows: open.block.flows, bytes: open.block.reportedBytes)
        for start in stride(from: 0, to: batch.count, by: Self.flowsAtOnce) {
            let some = start..<min(start + Self.flowsAtOnce, batch.count)
            labeler.read(observedOn: agent.hello.nodeName, at: second, by: rules) { reader in
                batch.forEach(in: some) { flow in
                    guard flow.isPossible else {
                        counted.impossibleFlows += 1
                        return
                    }
                    counted.received.add(flow)
                    switch reader.label(flow) {
                    case .ignored(let reason):
                        counted.ignored[reason.rawValue, default: Statistics.Amount()].add(flow)
                    case .labeled where !flow.isIPv4 && !form.hasIPv6:
                        counted.ignored["ipv6", default: Statistics.Amount()].add(flow)
                    case .labeled where flow.originalCounters.isZero && flow.replyCounters.isZero:
                        counted.ignored["empty", default: Statistics.Amount()].add(flow)
                    case .labeled(let labeled) where !form.isStored:
                        counted.labeled.add(flow)
                        counted.labels.add(labeled)
                        counted.dropped.add(flow)
                    case .labeled(let labeled):
                        counted.labeled.add(flow)
                        counted.labels.add(labeled)
                        open.block.append(labeled, observedAt: second)
                    }
                }
            }
        }
        counted.gathering = Statistics.Amount(
            flows: UInt64(open.block.flows - before.flows), bytes: open.block.reportedBytes &- before.bytes)
        statistics.add(counted)
        if open.block.flows == before.flows {
            // Nothing of it is to be stored.
            BatchReceipt.acknowledge([receipt])
        } else {
            open.receipts.append(receipt)
        }
        guard open.block.rows > 0 else { return }
        account(open.block.memoryBytes, of: &open)
        if open.block.rows >= limits.rows || gatheredBytes > limits.bytes {
            finish(consume open)
        } else {
            keep(consume open)
        }
    }

    func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {
        let (index, node) = (labeler.index, agent.hello.nodeName)
        Self.queue.async { index.setHostAddresses(addresses, ofNode: node) }
    }

    /// Sends what has been gathered.
    func flush() {
        for day in openBlocks.keys.sorted() { flush(day) }
    }

    private func flush(_ day: UInt16) {
        if let open = openBlocks.removeValue(forKey: day) { finish(open) }
    }

    /// Takes the block of a day out of those that are open; where there is none, or one of other flags, begins it.
    private func takeBlock(dayOf second: UInt32, flagNames: [String]) -> OpenBlock {
        if let open = openBlocks.removeValue(forKey: FlowBlock.day(of: second)) {
            if open.block.flagNames == flagNames { return open }
            finish(open)
        }
        return OpenBlock(
            block: FlowBlock(
                environment: form.environment, flagNames: flagNames, dayOf: second, flows: limits.rows))
    }

    /// Keeps a block open until it is full or old enough.
    private func keep(_ open: consuming OpenBlock) {
        let day = open.block.day
        if openBlocks.count == Self.maximumOpenBlocks,
            let first = openBlocks.min(by: { $0.value.block.begun < $1.value.block.begun })?.key
        {
            flush(first)
        }
        if open.expiry == nil {
            let bound = NIOLoopBound(self, eventLoop: eventLoop)
            open.expiry = eventLoop.scheduleTask(in: limits.age) { bound.value.flush(day) }
        }
        openBlocks[day] = open
    }

    private func finish(_ open: consuming OpenBlock) {
        open.expiry?.cancel()
        account(0, of: &open)
        let (block, receipts) = (open.block, open.receipts)
        send(block) {
            statistics.handOver(block)
        } _: {
            BatchReceipt.acknowledge(receipts)
        }
    }

    /// Tells of a block's memory.
    private func account(_ bytes: Int, of open: inout OpenBlock) {
        let growth = bytes - open.gatheredBytes
        open.gatheredBytes = bytes
        gatheredBytes += growth
        gather(growth)
    }
}

/// The sum of what all assemblers have counted.
final class StatisticsBox: Sendable {
    private let storage = Mutex(FlowAssembler.Statistics())

    var value: FlowAssembler.Statistics { storage.withLock { $0 } }

    func add(_ statistics: FlowAssembler.Statistics) { storage.withLock { $0 = $0 + statistics } }

    /// A block is being filled no longer.
    func handOver(_ block: FlowBlock) {
        storage.withLock {
            $0.gathering.flows -= UInt64(block.flows)
            $0.gathering.bytes &-= block.reportedBytes
        }
    }
}
