// SPDX-License-Identifier: Apache-2.0

public import FlowIngest
public import FlowModel
public import FlowWire
public import Labeling
public import NIOCore
import Threads

/// Labels the flows of one event loop's agents, gathers their rows into blocks and acknowledges the batches of a block
/// once its sink has settled it.
///
/// All rows of a batch are in one block, so the settlement of a block settles every batch in it. Each day has a block
/// of its own, since an agent that was disconnected for long may send yesterday's flows while others send today's.
public final class FlowAssembler: FlowSink {
    /// Counts of flows by outcome.
    public struct Statistics: Sendable {
        /// All flows received; each batch counts once.
        public var received = FlowAmount()
        /// Labelled flows, whether or not they are stored.
        public var labeled = FlowAmount()
        /// Labelled flows that are dropped, since there is no sink.
        public var dropped = FlowAmount()
        /// Flows that are not recorded, by reason.
        public var ignored: [String: FlowAmount] = [:]
        /// Flows in blocks that are being filled.
        public var gathering = FlowAmount()
        /// Flows withdrawn from blocks that were being filled.
        public var withdrawn = FlowAmount()
        /// Kinds of the ends of labelled flows.
        public var labels = LabelResults()
        /// Batches whose time is not credible; they are given the time of their arrival.
        public var incredibleTimes: UInt64 = 0
        /// Flows with impossible counters, which would distort every sum that includes them. They are counted here and
        /// nowhere else.
        public var impossibleFlows: UInt64 = 0

        /// Makes counts of no flows.
        public init() {}

        static func += (left: inout Statistics, right: Statistics) {
            left.received += right.received
            left.labeled += right.labeled
            left.dropped += right.dropped
            left.gathering += right.gathering
            left.withdrawn += right.withdrawn
            left.labels += right.labels
            left.incredibleTimes += right.incredibleTimes
            left.impossibleFlows += right.impossibleFlows
            for (reason, amount) in right.ignored { left.ignored[reason, default: FlowAmount()] += amount }
        }

        /// All reasons for which flows are not recorded.
        public static let ignoredReasons = Labeler.IgnoredReason.allCases.map(\.rawValue) + ["ipv6", "empty"]
    }

    /// The limits at which a block is sent.
    public struct Limits: Sendable {
        /// The rows of a block.
        public var rows: Int
        /// The memory of all blocks that this assembler fills, in bytes.
        public var bytes: Int
        /// Time since the block's first flow.
        public var age: TimeAmount
        /// The time within which agents must confirm that they know a block. It is short, since the block waits, and
        /// more than a lost packet takes to be sent again.
        package var confirmation = TimeAmount.seconds(5)

        /// Makes limits from their parts.
        public init(rows: Int, bytes: Int, age: TimeAmount) {
            self.rows = rows
            self.bytes = bytes
            self.age = age
        }
    }

    /// A block that is being filled.
    private struct OpenBlock {
        var block: FlowBlock
        var receipts: [BatchReceipt] = []
        /// The scheduled task that sends the block even if it is not full.
        var expiry: Scheduled<Void>?
        /// How often agents have not confirmed the block in time.
        var lateRounds = 0
    }

    /// A complete block whose agents have not all confirmed that they know it.
    private struct AnnouncedBlock {
        var open: OpenBlock
        let announcement: BlockAnnouncement
        /// The scheduled task that gives up the batches whose agents do not confirm.
        let deadline: Scheduled<Void>
    }

    /// The number of times that a block waits in vain for confirmations before it is given up: an agent that
    /// confirms some batches and leaves others out would hold it up for as many rounds.
    private static let maximumLateRounds = 4

    /// The maximum number of days with an open block. One more day sends the block that was begun first.
    private static let maximumOpenBlocks = 3

    /// The thread on which agents' addresses are given to the index, so that event loops do not wait for its changes.
    private static let addressThread = OwnedThread(name: "host-addresses")

    /// The maximum number of flows labelled in one read of the index; changes of the index wait for that long.
    private static let flowsAtOnce = 1024

    private let eventLoop: any EventLoop
    private let labeler: Labeler
    private let environment: String
    private let limits: Limits
    private let ledger: BlockLedger
    private let sink: (any BlockSink)?
    /// Whether blocks are announced to agents before the sink gets them.
    private let isAnnouncing: Bool
    private let talkers: TopTalkers.Part?
    private let now: @Sendable () -> UInt32
    /// Blocks that are being filled, by day.
    private var openBlocks: [UInt16: OpenBlock] = [:]
    /// Blocks that wait for agents' confirmations, by token.
    private var announcedBlocks: [UInt128: AnnouncedBlock] = [:]
    /// Blocks that are announced next, with a new token: batches were withdrawn from them.
    private var changedBlocks: [OpenBlock] = []
    /// Fulfilled once no block waits for confirmations.
    private var drained: [EventLoopPromise<Void>] = []

    /// Makes an assembler without blocks.
    ///
    /// - Parameters:
    ///   - eventLoop: The event loop that calls the assembler.
    ///   - labeler: Labels flows.
    ///   - environment: The value of the column `environment`.
    ///   - limits: The limits at which a block is sent.
    ///   - ledger: Counts flows and the memory of blocks.
    ///   - sink: Receives finished blocks, with an account of `ledger`; if nil, flows are labelled and dropped.
    ///   - isAnnouncing: Whether agents confirm that they know a block before the sink gets it. The sink must store
    ///     at most one block under a token.
    ///   - talkers: Summarizes finished blocks; nil if the summary is not shown.
    ///   - now: Returns the time in seconds since the Unix epoch.
    public init(
        eventLoop: any EventLoop, labeler: Labeler, environment: String, limits: Limits, ledger: BlockLedger,
        sink: (any BlockSink)?, isAnnouncing: Bool = false, talkers: TopTalkers.Part? = nil,
        now: @escaping @Sendable () -> UInt32 = WallClock.seconds
    ) {
        self.eventLoop = eventLoop
        self.labeler = labeler
        self.environment = environment
        self.limits = limits
        self.ledger = ledger
        self.sink = sink
        self.isAnnouncing = isAnnouncing
        self.talkers = talkers
        self.now = now
    }

    /// Labels a batch's flows and adds them to the block of their day. The receipt is acknowledged when the block is
    /// settled, or immediately if no flow of the batch is to be stored.
    public func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {
        var counted = Statistics()
        let (second, isCredible) = ObservationTime.second(of: batch.observedAtMilliseconds, now: now())
        if !isCredible { counted.incredibleTimes += 1 }
        let rules = labeler.rules
        var open = takeBlock(dayOf: second, flagNames: rules.flagNames)
        let flowsBefore = open.block.flows
        let isStored = sink != nil
        let hasIPv6 = sink?.form.hasIPv6 ?? true
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
                        counted.ignored[reason.rawValue, default: FlowAmount()].add(flow)
                    case .labeled where !flow.isIPv4 && !hasIPv6:
                        counted.ignored["ipv6", default: FlowAmount()].add(flow)
                    case .labeled where flow.originalCounters.isZero && flow.replyCounters.isZero:
                        counted.ignored["empty", default: FlowAmount()].add(flow)
                    case .labeled(let labeled) where !isStored:
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
        ledger.record(counted, filling: open.block)
        let isEmpty = open.block.flows == flowsBefore
        if !isEmpty {
            open.block.endBatch(receipt.identity)
            open.receipts.append(receipt)
        }
        // Last, because a failed write may close the connection, whose batches are then withdrawn from open blocks.
        defer { if isEmpty { BatchReceipt.acknowledge([receipt]) } }
        guard open.block.rows > 0 else { return }
        let gatheredBytes = openBlocks.values.reduce(open.block.memoryBytes) { $0 + $1.block.memoryBytes }
        if open.block.rows >= limits.rows || gatheredBytes > limits.bytes {
            finish(consume open)
        } else {
            keep(consume open)
        }
    }

    /// Removes batches from the blocks that are being filled and from those that the sink has not begun to send.
    public func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
        var withdrawn: Set<BatchIdentity> = []
        for day in Array(openBlocks.keys) {
            guard var open = openBlocks.removeValue(forKey: day) else { continue }
            if let withdrawal = withdraw(batches, from: &open) { withdrawn.formUnion(withdrawal.batches) }
            if open.block.rows > 0 {
                openBlocks[day] = open
            } else {
                open.expiry?.cancel()
                open.block.recycle()
            }
        }
        for (token, announced) in announcedBlocks {
            var open = announced.open
            guard let withdrawal = withdraw(batches, from: &open) else { continue }
            withdrawn.formUnion(withdrawal.batches)
            // An agent may know the batch by the block's token, under which it must not count as stored: the rest gets
            // another one. Not at once, because receipts are locked during a withdrawal.
            announced.deadline.cancel()
            announcedBlocks[token] = nil
            changedBlocks.append(open)
            let bound = NIOLoopBound(self, eventLoop: eventLoop)
            eventLoop.execute { bound.value.announceChangedBlocks() }
        }
        for index in changedBlocks.indices {
            if let withdrawal = withdraw(batches, from: &changedBlocks[index]) {
                withdrawn.formUnion(withdrawal.batches)
            }
        }
        let rest = batches.subtracting(withdrawn)
        return rest.isEmpty ? withdrawn : withdrawn.union(sink?.withdraw(rest) ?? [])
    }

    /// Removes batches from a block that the sink does not have yet; returns nil if none was in it.
    private func withdraw(_ batches: Set<BatchIdentity>, from open: inout OpenBlock) -> BlockWithdrawal? {
        guard let withdrawal = BlockWithdrawal(batches, from: &open.block) else { return nil }
        ledger.record(withdrawal, from: open.block)
        open.receipts.removeAll { withdrawal.batches.contains($0.identity) }
        return withdrawal
    }

    /// Passes the addresses of an agent's host to the index.
    public func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {
        let (index, node) = (labeler.index, agent.hello.nodeName)
        Self.addressThread.submit { index.setHostAddresses(addresses, ofNode: node) }
    }

    /// Sends all open blocks. The result completes when the sink has them, or after the time that agents have to confirm
    /// two announcements: blocks that are not confirmed then are left to their agents.
    public func flush() -> EventLoopFuture<Void> {
        for day in openBlocks.keys.sorted() { flush(day) }
        let promise = eventLoop.makePromise(of: Void.self)
        drained.append(promise)
        noteDrained()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .nanoseconds(2 * limits.confirmation.nanoseconds)) {
            bound.value.giveUpUnconfirmed()
        }
        return promise.futureResult
    }

    private func flush(_ day: UInt16) {
        if let open = openBlocks.removeValue(forKey: day) { finish(open) }
    }

    /// Removes and returns the open block of a day; begins one if there is none, or if the open one has other flag
    /// names.
    private func takeBlock(dayOf second: UInt32, flagNames: [String]) -> OpenBlock {
        if let open = openBlocks.removeValue(forKey: FlowBlock.day(of: second)) {
            if open.block.flagNames == flagNames { return open }
            finish(open)
            // A batch may have arrived meanwhile, and begun a block.
            return takeBlock(dayOf: second, flagNames: flagNames)
        }
        return OpenBlock(
            block: FlowBlock(
                environment: environment, flagNames: flagNames, dayOf: second, flows: limits.rows))
    }

    /// Keeps a block open until it is full or reaches the maximum age.
    private func keep(_ open: consuming OpenBlock) {
        let day = open.block.day
        let isFull = openBlocks.count == Self.maximumOpenBlocks
        let first = isFull ? openBlocks.min { $0.value.block.begun < $1.value.block.begun }?.key : nil
        // Last, because it may write to agents' connections, which may resume to deliver batches.
        defer { if let first { flush(first) } }
        if open.expiry == nil {
            let bound = NIOLoopBound(self, eventLoop: eventLoop)
            open.expiry = eventLoop.scheduleTask(in: limits.age) { bound.value.flush(day) }
        }
        openBlocks[day] = open
    }

    private func finish(_ open: consuming OpenBlock) {
        open.expiry?.cancel()
        talkers?.add(open.block)
        if isAnnouncing, open.receipts.contains(where: \.isConfirming) {
            announce(open)
        } else {
            submit(open)
        }
    }

    // MARK: - Announcements

    /// Names a block to its agents under a new token. It goes to the sink once they have confirmed that.
    private func announce(_ open: consuming OpenBlock) {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let (receipts, eventLoop) = (open.receipts, eventLoop)
        open.block.announced = .now
        open.block.unannounced = Set(receipts.lazy.filter { !$0.isConfirming }.map(\.identity))
        let announcement = BatchReceipt.announce(receipts, day: open.block.day) { token in
            eventLoop.execute { bound.value.send(announced: token) }
        }
        open.block.token = announcement.token
        guard !announcement.unconfirmed.isEmpty else { return submit(open, announcement) }
        let token = announcement.token
        let deadline = eventLoop.scheduleTask(in: limits.confirmation) { bound.value.confirmationsAreLate(token) }
        announcedBlocks[token] = AnnouncedBlock(open: open, announcement: announcement, deadline: deadline)
    }

    private func announceChangedBlocks() {
        let blocks = changedBlocks
        changedBlocks = []
        for var open in blocks {
            if open.block.rows > 0 {
                announce(open)
            } else {
                open.block.recycle()
            }
        }
        noteDrained()
    }

    /// Gives up the batches of agents that have not confirmed a block in time. The rest gets another token, since these
    /// agents may know the first one.
    private func confirmationsAreLate(_ token: UInt128) {
        guard let announced = announcedBlocks.removeValue(forKey: token) else { return }
        var open = announced.open
        let givenUp = BatchReceipt.giveUp(open.receipts, unconfirmedIn: announced.announcement)
        if givenUp.isEmpty {
            submit(open, announced.announcement)
            noteDrained()
        } else {
            open.lateRounds += 1
            if open.lateRounds < Self.maximumLateRounds {
                _ = withdraw(givenUp, from: &open)
                changedBlocks.append(open)
            } else {
                giveUp(open)
            }
            announceChangedBlocks()
        }
    }

    private func send(announced token: UInt128) {
        guard let announced = announcedBlocks.removeValue(forKey: token) else { return }
        announced.deadline.cancel()
        submit(announced.open, announced.announcement)
        noteDrained()
    }

    /// Leaves the blocks that still wait for confirmations to their agents, which send them to another server.
    private func giveUpUnconfirmed() {
        let (announced, changed) = (announcedBlocks, changedBlocks)
        (announcedBlocks, changedBlocks) = ([:], [])
        for block in announced.values { block.deadline.cancel() }
        for open in announced.values.map(\.open) + changed { giveUp(open) }
        noteDrained()
    }

    /// Leaves a block that the sink does not have to its agents. Those that confirm no blocks keep their connections: what
    /// they have in other blocks would be stored twice.
    private func giveUp(_ open: consuming OpenBlock) {
        let batches = Set(open.receipts.map(\.identity))
        BatchReceipt.void(open.receipts.filter(\.isConfirming))
        _ = withdraw(batches, from: &open)
        open.block.recycle()
    }

    private func noteDrained() {
        guard announcedBlocks.isEmpty, changedBlocks.isEmpty else { return }
        let promises = drained
        drained = []
        for promise in promises { promise.succeed() }
    }

    /// Hands a block to the sink. An announced block is at risk of a fence by another server if one of its agents has
    /// gone, or may have gone while this process did not run.
    private func submit(_ open: consuming OpenBlock, _ announcement: BlockAnnouncement? = nil) {
        let receipts = open.receipts
        sink?.submit(open.block) {
            announcement.map { $0.isLeft || !BatchReceipt.haveConnections(receipts) } ?? false
        } settled: { settlement in
            let withdrawn = settlement.withdrawn
            // A batch of an agent that confirms no blocks may be in another block by now.
            if settlement.isVoid {
                return BatchReceipt.void(receipts.filter { $0.isConfirming || !withdrawn.contains($0.identity) })
            }
            // A rejected block is acknowledged as well, or its agents would resend it forever.
            BatchReceipt.acknowledge(
                withdrawn.isEmpty ? receipts : receipts.filter { !withdrawn.contains($0.identity) })
        }
    }
}
