// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowBlocksTestKit
import FlowIngest
import FlowModel
import FlowWire
import Labeling
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import FlowBlocks

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

private let site = Site(environment: "testing", cloud: "aws", region: "eu-central-1", cluster: "main")

private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

/// Makes a flow of 100 bytes out and 200 back, from the only pod to an external address.
private func flow(_ transport: TransportProtocol = .tcp, to remote: String = "192.0.2.99") throws -> Flow {
    let tuple = FlowTuple(
        source: try address(remote.contains(":") ? "fd00::1" : "10.0.0.1"), destination: try address(remote),
        sourcePort: 40_000, destinationPort: 443)
    return Flow(
        transport: transport, original: tuple, reply: tuple.mirrored,
        originalCounters: FlowCounters(packets: 1, bytes: 100), replyCounters: FlowCounters(packets: 2, bytes: 200))
}

/// 2026-03-01 12:00:00 UTC.
private let noon: UInt64 = 1_772_366_400

/// An assembler behind a real server, with a connected agent and a sink in memory.
private final class AssemblerUnderTest: Sendable {
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let server: IngestServer
    private let agent: any Channel
    private let agentID = AgentID.random()
    private let nodeName: String
    let labeler: Labeler
    let ledger = BlockLedger(maximumBytes: .max)
    let sink: MemorySink
    private let storage = Storage()

    private final class Storage: Sendable {
        let acknowledged = Mutex<[UInt64]>([])
        let held = Mutex<[Held]>([])
        let assembler = Mutex<NIOLoopBound<FlowAssembler>?>(nil)
    }

    /// Collects the acknowledgements that an agent receives.
    private final class Acknowledgements: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let storage: Storage

        init(_ storage: Storage) { self.storage = storage }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch try? ServerMessage(decoding: unwrapInboundIn(data)) {
            case .ack(let sequences, _): storage.acknowledged.withLock { $0 += sequences }
            case .held(let held): storage.held.withLock { $0.append(held) }
            default: break
            }
        }
    }

    init(
        rows: Int = 1_000, bytes: Int = .max, age: TimeAmount = .hours(1), nodeName: String = "node-a",
        isStored: Bool = true, confirmation: TimeAmount? = nil
    ) async throws {
        let inventory = Inventory(
            nodes: [Node(name: "node-a", addresses: [try address("172.18.0.2")])],
            pods: [
                Pod(
                    namespace: "shop", name: "web", node: "node-a",
                    addresses: [try address("10.0.0.1"), try address("fd00::1")])
            ])
        let index = ClusterIndex(site: site)
        index.add(inventory)
        let labeler = Labeler(index: index, configuration: Labeler.Configuration())
        self.labeler = labeler
        self.nodeName = nodeName
        let (storage, ledger) = (storage, ledger)
        let sink = MemorySink(
            account: ledger.openAccount(),
            columns: FlowColumn.allCases.filter { $0 != .ipv6(.local) && $0 != .ipv6(.remote) }
        )
        self.sink = sink
        var access = IngestServer.Configuration()
        access.limits.helloDeadline = .hours(1)
        server = try await IngestServer(group: group, configuration: access, logger: quiet) { eventLoop in
            var limits = FlowAssembler.Limits(rows: rows, bytes: bytes, age: age)
            limits.confirmation = confirmation ?? .hours(1)
            let assembler = FlowAssembler(
                eventLoop: eventLoop, labeler: labeler, environment: "testing", limits: limits, ledger: ledger,
                sink: isStored ? sink : nil, isAnnouncing: confirmation != nil, now: { UInt32(noon) + 86_400 })
            storage.assembler.withLock { $0 = NIOLoopBound(assembler, eventLoop: eventLoop) }
            return assembler
        }
        let address = try await server.listen(on: IPAddress("127.0.0.1"), port: 0)
        agent = try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        ByteToMessageHandler(FrameDecoder()), Acknowledgements(storage))
                }
            }
            .connect(to: address).get()
        try await agent.writeAndFlush(
            Hello(
                nodeName: nodeName, agentID: agentID, softwareVersion: "test", confirmsHeld: confirmation != nil
            ).frame())
    }

    /// Sends a batch and waits until the assembler has it.
    func send(_ sequence: UInt64, _ flows: [Flow], at second: UInt64 = noon) async throws {
        var builder = FlowBatchBuilder(family: flows.allSatisfy(\.isIPv4) ? .ipv4 : .ipv6)
        for flow in flows { builder.append(flow) }
        let before = server.statistics.batches
        let frame = builder.takeFrame(sequence: sequence, observedAtMilliseconds: second * 1000 + 999)
        try await agent.writeAndFlush(frame)
        try await eventually("the batch is received") { self.server.statistics.batches > before }
        // The assembler receives the batch after the count, on the same event loop.
        try await agent.eventLoop.submit {}.get()
    }

    func flush() async throws {
        guard let assembler = storage.assembler.withLock({ $0 }) else { return }
        try await assembler.eventLoop.flatSubmit { assembler.value.flush() }.get()
    }

    /// Completes the open block, and returns once its agent is told.
    func announce() async throws -> Held {
        let before = held.count
        guard let assembler = storage.assembler.withLock({ $0 }) else { throw TestEnvironmentError("no assembler") }
        assembler.eventLoop.execute { _ = assembler.value.flush() }
        try await eventually("the agent is told") { self.held.count > before }
        return held[before]
    }

    func confirm(_ held: Held) async throws {
        try await agent.writeAndFlush(HeldConfirmation(token: held.token, sequences: held.sequences).frame())
    }

    func disconnect() async throws { try await agent.close() }

    func withdraw(_ batches: Set<BatchIdentity>) async throws -> Set<BatchIdentity> {
        guard let assembler = storage.assembler.withLock({ $0 }) else { return [] }
        return try await assembler.eventLoop.submit { assembler.value.withdraw(batches) }.get()
    }

    /// The blocks sent so far, in order.
    var blocks: [FlowBlock] { sink.blocks }
    /// The sequence numbers of acknowledged batches.
    var acknowledged: [UInt64] { storage.acknowledged.withLock { $0 } }
    /// The blocks that the agent was told.
    var held: [Held] { storage.held.withLock { $0 } }
    var isConnected: Bool { agent.isActive }
    var statistics: FlowAssembler.Statistics { ledger.statistics.flows }
    /// The memory of the blocks that are being filled.
    var gatheredBytes: Int { ledger.statistics.memory.gatheringBytes }
    /// Returns the identity of one of this agent's batches.
    func batch(_ sequence: UInt64) -> BatchIdentity {
        BatchIdentity(agent: AgentIdentity(id: agentID.bits, nodeName: nodeName), sequence: sequence)
    }

    /// Settles a block as stored.
    func complete(_ index: Int) { sink.settle(index, as: .stored) }

    func stop() async throws {
        if agent.isActive { try await agent.close() }
        await server.stopAccepting(reason: "the test is over")
        await server.closeConnections()
        try await group.shutdownGracefully()
    }
}

@Suite struct FlowAssemblerTests {
    @Test("flows of an incredible time are counted, and stored under the time of the server")
    func incredibleTime() async throws {
        let test = try await AssemblerUnderTest()
        try await test.send(1, [flow()], at: noon - 30 * 86_400)
        try await test.flush()
        #expect(test.blocks.map(\.day) == [FlowBlock.day(of: UInt32(noon) + 86_400)])
        #expect(test.statistics.incredibleTimes == 1)
        try await test.stop()
    }

    @Test("batches are acknowledged when their block is stored")
    func batchesAreAcknowledgedWhenTheirBlockIsStored() async throws {
        let test = try await AssemblerUnderTest(rows: 6)
        try await test.send(1, [try flow()])
        try await test.send(2, [try flow()])
        #expect(test.blocks.isEmpty)
        try await test.send(3, [try flow(), try flow(), try flow()])
        try await test.send(4, [try flow()])
        // A batch is never split, whatever the limit.
        #expect(test.blocks.map(\.rows) == [10])
        #expect(test.blocks.first?.reportedBytes == 1_500)
        #expect(test.acknowledged == [])
        test.complete(0)
        try await eventually("three batches are acknowledged") { test.acknowledged == [1, 2, 3] }
        try await test.flush()
        #expect(test.blocks.map(\.rows) == [10, 2])
        test.complete(1)
        try await eventually("the fourth batch is acknowledged") { test.acknowledged == [1, 2, 3, 4] }
        #expect(test.statistics.labeled.flows == 6 && test.statistics.labeled.bytes == 1_800)
        #expect(test.statistics.ignored.isEmpty)
        try await test.stop()
    }

    @Test("the memory of a block is reported while it is being filled")
    func theMemoryOfABlockIsToldAsLongAsItIsBeingFilled() async throws {
        let test = try await AssemblerUnderTest()
        try await test.send(1, [try flow()])
        let small = test.gatheredBytes
        #expect(small > 0)
        let flow = try flow()
        try await test.send(2, [Flow](repeating: flow, count: 400))
        #expect(test.gatheredBytes > small)
        try await test.flush()
        #expect(test.gatheredBytes == 0)
        try await test.stop()
    }

    @Test("each block is sent when it reaches the maximum age")
    func aBlockIsSentWhenItIsOldEnoughAndEachForItself() async throws {
        let test = try await AssemblerUnderTest(age: .milliseconds(20))
        for number in 1...3 {
            try await test.send(UInt64(number), [try flow()])
            try await eventually("block \(number) is sent") { test.blocks.count == number }
        }
        #expect(test.blocks.map(\.rows) == [2, 2, 2])
        try await test.stop()
    }

    @Test("a block is sent when all blocks together reach the memory limit")
    func aBlockThatTakesTooMuchMemoryIsSent() async throws {
        let test = try await AssemblerUnderTest(bytes: 64 << 10)
        let flow = try flow()
        // 72 bytes per flow.
        try await test.send(1, [Flow](repeating: flow, count: 400))
        #expect(test.blocks.isEmpty && test.gatheredBytes > 28_000)
        // Another day's block counts as well.
        try await test.send(2, [Flow](repeating: flow, count: 400), at: noon + 86_400)
        #expect(test.blocks.map(\.day) == [FlowBlock.day(of: UInt32(noon)) + 1])
        #expect(test.gatheredBytes > 28_000)
        try await test.flush()
        #expect(test.gatheredBytes == 0)
        try await test.stop()
    }

    @Test("batches of two days, alternating, fill one block for each day")
    func daysThatTakeTurnsHaveABlockEach() async throws {
        let test = try await AssemblerUnderTest()
        let midnight = noon + 12 * 3600
        for number in 0..<3 {
            try await test.send(UInt64(2 * number), [try flow()], at: midnight - 1)
            try await test.send(UInt64(2 * number + 1), [try flow()], at: midnight + UInt64(number) * 3600)
        }
        #expect(test.blocks.isEmpty)
        try await test.flush()
        #expect(test.blocks.map(\.rows) == [6, 6])
        #expect(test.blocks.map(\.day) == [FlowBlock.day(of: UInt32(noon)), FlowBlock.day(of: UInt32(midnight))])
        #expect(test.gatheredBytes == 0)
        test.complete(1)
        try await eventually("the later day's batches are acknowledged") { test.acknowledged == [1, 3, 5] }
        test.complete(0)
        try await eventually("the earlier day's batches are acknowledged") { test.acknowledged == [1, 3, 5, 0, 2, 4] }
        try await test.stop()
    }

    @Test("a batch of a fourth day sends the block that was begun first")
    func aDayTooManySendsTheBlockThatWasBegunFirst() async throws {
        let test = try await AssemblerUnderTest()
        let days: [UInt64] = [2, 1, 3]
        for day in days { try await test.send(day, [try flow()], at: noon - day * 86_400) }
        try await test.send(4, [try flow(), try flow()], at: noon - 2 * 86_400)
        #expect(test.blocks.isEmpty)
        let gathered = test.gatheredBytes
        try await test.send(5, [try flow()], at: noon)
        #expect(test.blocks.map(\.day) == [FlowBlock.day(of: UInt32(noon)) - 2])
        #expect(test.blocks.map(\.rows) == [6])
        #expect(test.gatheredBytes > 0 && test.gatheredBytes < gathered)
        test.complete(0)
        try await eventually("the stored day's batches are acknowledged") { test.acknowledged == [2, 4] }
        try await test.flush()
        #expect(test.blocks.map(\.rows) == [6, 2, 2, 2])
        #expect(test.gatheredBytes == 0)
        try await test.stop()
    }

    @Test("blocks of two days expire independently") func aBlockExpiresWhetherOrNotAnotherDayHasOne() async throws {
        let test = try await AssemblerUnderTest(age: .milliseconds(20))
        try await test.send(1, [try flow()])
        try await test.send(2, [try flow()], at: noon + 86_400)
        try await eventually("both blocks are sent") { test.blocks.count == 2 }
        #expect(test.gatheredBytes == 0)
        try await test.stop()
    }

    @Test("a change of the connection flags begins another block") func otherFlagsBeginAnotherBlock() async throws {
        let test = try await AssemblerUnderTest()
        try await test.send(1, [try flow()])
        test.labeler.apply(Labeler.Configuration(ignoreUDP: false))
        try await test.send(2, [try flow(.udp)])
        #expect(test.blocks.isEmpty)
        test.labeler.apply(Labeler.Configuration(flagRules: [ConnectionFlagRule(name: "https", ports: [443])]))
        try await test.send(3, [try flow()])
        try await test.flush()
        #expect(test.blocks.map(\.rows) == [4, 2])
        #expect(test.blocks.map(\.flagNames) == [["translated"], ["translated", "https"]])
        try await test.stop()
    }

    @Test("with storing disabled, flows are labelled, dropped and acknowledged")
    func whereNothingIsStoredFlowsAreLabelledDroppedAndAcknowledged() async throws {
        let test = try await AssemblerUnderTest(isStored: false)
        try await test.send(1, [try flow(), try flow(.udp)])
        try await eventually("the batch is acknowledged") { test.acknowledged == [1] }
        #expect(test.statistics.labeled.flows == 1 && test.statistics.dropped.flows == 1)
        #expect(test.statistics.dropped.bytes == 300 && test.statistics.ignored["udp"]?.flows == 1)
        try await test.flush()
        #expect(test.blocks.isEmpty && test.gatheredBytes == 0)
        try await test.stop()
    }

    @Test("ignored flows are counted by reason and acknowledged at once")
    func whatIsNotRecordedIsCountedAndAcknowledged() async throws {
        let test = try await AssemblerUnderTest()
        try await test.send(1, [try flow(.udp), try flow(to: "172.18.0.2")])
        try await eventually("the batch is acknowledged immediately") { test.acknowledged == [1] }
        try await test.send(2, [try flow(to: "2001:db8::1")])
        try await eventually("the batch with IPv6, which the table cannot store, is acknowledged") {
            test.acknowledged == [1, 2]
        }
        try await test.flush()
        #expect(test.blocks.isEmpty)
        #expect(test.statistics.labeled.flows == 0)
        #expect(test.statistics.ignored.mapValues(\.flows) == ["udp": 1, "node": 1, "ipv6": 1])
        #expect(test.statistics.ignored.mapValues(\.bytes) == ["udp": 300, "node": 300, "ipv6": 300])
        try await test.stop()
    }

    @Test("flows with impossible counters are dropped and counted, and the others are kept")
    func impossibleCounters() async throws {
        let test = try await AssemblerUnderTest()
        var most = try flow()
        most.replyCounters.bytes = 1 << 50
        var flows = [try flow(), most]
        for value in [(1 << 50) + 1, UInt64(1) << 63, .max] {
            var (packets, bytes) = (try flow(), try flow())
            packets.originalCounters.packets = value
            bytes.replyCounters.bytes = value
            flows += [packets, bytes]
        }
        try await test.send(1, flows)
        try await test.flush()
        #expect(test.blocks.map(\.flows) == [2])
        #expect(test.statistics.impossibleFlows == 6)
        #expect(test.statistics.received.flows == 2 && test.statistics.received.bytes == 400 + (1 << 50))
        test.complete(0)
        try await eventually("the batch is acknowledged") { test.acknowledged == [1] }
        try await test.stop()
    }

    @Test("a batch without rows is acknowledged before the open block is stored")
    func aBatchWithoutRowsDoesNotWaitForTheBlockThatIsOpen() async throws {
        let test = try await AssemblerUnderTest()
        try await test.send(1, [try flow()])
        try await test.send(2, [try flow(.udp)])
        try await eventually("the batch without rows is acknowledged immediately") { test.acknowledged == [2] }
        try await test.flush()
        test.complete(0)
        try await eventually("both batches are acknowledged") { test.acknowledged == [2, 1] }
        try await test.stop()
    }

    @Test("every received flow is ignored, gathering or handed to the sink")
    func whatIsReceivedIsIgnoredGatheredOrHandedOver() async throws {
        let test = try await AssemblerUnderTest(rows: 8)
        var nothing = try flow()
        (nothing.originalCounters, nothing.replyCounters) = (FlowCounters(), FlowCounters())
        var generator = SeededGenerator(seed: 1)
        let kinds = [try flow(), try flow(.udp), try flow(to: "172.18.0.2"), nothing]
        for number in 1...30 {
            let flows = (0..<Int.random(in: 1...9, using: &generator)).compactMap { _ in
                kinds.randomElement(using: &generator)
            }
            // One in eight batches is from another day, which has a block of its own.
            let day = UInt64(Int.random(in: 0..<8, using: &generator) / 7)
            try await test.send(UInt64(number), flows, at: noon - day * 86_400)
            let now = test.statistics
            let (blocks, ignored) = (test.blocks, now.ignored.values)
            #expect(
                now.received.flows
                    == ignored.reduce(0) { $0 + $1.flows } + now.gathering.flows
                    + UInt64(blocks.reduce(0) { $0 + $1.flows }))
            #expect(
                now.received.bytes
                    == ignored.reduce(0) { $0 + $1.bytes } + now.gathering.bytes
                    + blocks.reduce(0) { $0 + $1.reportedBytes })
        }
        #expect(test.blocks.count > 2)
        try await test.flush()
        let end = test.statistics
        #expect(end.gathering.flows == 0 && end.gathering.bytes == 0)
        #expect(Set(end.ignored.keys) == ["udp", "node", "empty"])
        #expect(end.ignored["empty"]?.bytes == 0)
        try await test.stop()
    }

    @Test("an agent on an unknown node has no local pods") func aNodeThatNobodyKnowsHasNoLocalPods() async throws {
        let test = try await AssemblerUnderTest(nodeName: "node-z")
        try await test.send(1, [try flow(), try flow(to: "10.0.0.1")])
        try await test.flush()
        // A single known end, the source, is on another node than the agent's: it is the remote end. If both ends are
        // known, the direction is unknown.
        #expect(test.blocks.map(\.rows) == [2])
        #expect(test.statistics.ignored.mapValues(\.flows) == ["unknown_direction": 1])
        try await test.stop()
    }

    // MARK: - Sinks and batches

    @Test("a sink gets every byte that is not ignored")
    func bytesOfASink() async throws {
        let test = try await AssemblerUnderTest(rows: 8)
        for number in 1...7 as ClosedRange<UInt64> {
            try await test.send(number, [Flow](repeating: try flow(), count: Int(number)) + [try flow(.udp)])
        }
        try await test.flush()
        #expect(test.sink.rowBytes == 28 * 300 && test.sink.statistics.pendingBytes == 28 * 300)
        for index in test.blocks.indices { test.complete(index) }
        #expect(test.sink.statistics.stored.reportedBytes == 28 * 300 && test.sink.statistics.pendingFlows == 0)
        #expect(test.sink.statistics.stored.flows == 28 && test.statistics.received.flows == 35)
        try await eventually("every batch is acknowledged") { test.acknowledged.sorted() == Array(1...7) }
        try await test.stop()
    }

    @Test("a rejected block is acknowledged and counted under its reason")
    func rejectedBlock() async throws {
        let test = try await AssemblerUnderTest()
        try await test.send(1, [try flow()])
        try await test.flush()
        try await test.send(2, [try flow(), try flow()])
        try await test.flush()
        test.sink.settle(1, as: .stored, .rejected(reason: "refused_data"))
        try await eventually("the next block's batch is acknowledged") { test.acknowledged == [2] }
        let statistics = test.sink.statistics
        #expect(statistics.rejected == ["refused_data": .init(blocks: 1, flows: 1, rows: 2, reportedBytes: 300)])
        #expect(statistics.stored == .init(blocks: 1, flows: 1, rows: 2, reportedBytes: 300))
        #expect(statistics.pendingFlows == 1 && statistics.queuedBlocks == 1)
        try await test.stop()
    }

    @Test("a batch can be withdrawn until its block is sent, and is then not acknowledged")
    func withdrawnBatch() async throws {
        let test = try await AssemblerUnderTest()
        for number in 1...3 as ClosedRange<UInt64> {
            try await test.send(number, [Flow](repeating: try flow(), count: Int(number)))
        }
        try await test.flush()
        #expect(test.sink.withdraw([test.batch(2), test.batch(9)]) == [test.batch(2)])
        #expect(test.sink.withdraw([test.batch(2)]).isEmpty)
        #expect(test.blocks.map(\.flows) == [4] && test.sink.rowBytes == 1_200)
        #expect(test.sink.statistics.withdrawn == .init(blocks: 0, flows: 2, rows: 4, reportedBytes: 600))
        #expect(test.sink.statistics.pendingFlows == 4 && test.sink.statistics.queuedRows == 8)
        test.sink.send(0)
        #expect(test.sink.withdraw([test.batch(3)]).isEmpty)
        test.complete(0)
        try await eventually("the other batches are acknowledged") { test.acknowledged == [1, 3] }
        let end = test.sink.statistics
        #expect(end.stored.flows == 4 && end.withdrawn.flows == 2 && end.pendingFlows == 0 && end.queuedBytes == 0)
        #expect(test.statistics.received.flows == 6)
        try await test.stop()
    }

    @Test("a batch can be withdrawn from blocks that are being filled and from those of the sink")
    func withdrawal() async throws {
        let test = try await AssemblerUnderTest()
        for number in 1...2 as ClosedRange<UInt64> { try await test.send(number, [try flow()]) }
        try await test.flush()
        try await test.send(3, [try flow()])
        try await test.send(4, [try flow(), try flow()])
        try await test.send(5, [try flow()], at: noon + 86_400)
        let batches = Set([2, 3, 5, 9].map { test.batch($0) })
        #expect(try await test.withdraw(batches) == Set([2, 3, 5].map { test.batch($0) }))
        #expect(test.statistics.withdrawn.flows == 2 && test.statistics.withdrawn.bytes == 600)
        #expect(test.statistics.gathering.flows == 2 && test.statistics.gathering.bytes == 600)
        #expect(test.sink.statistics.withdrawn.flows == 1)
        try await test.flush()
        #expect(test.blocks.map(\.flows) == [1, 2] && test.gatheredBytes == 0)
        test.complete(0)
        test.complete(1)
        try await eventually("the other batches are acknowledged") { test.acknowledged == [1, 4] }
        #expect(test.statistics.received.flows == 6 && test.sink.statistics.stored.flows == 3)
        try await test.stop()
    }

    @Test("a block goes to the sink under its token once its agent has confirmed it")
    func confirmedBlock() async throws {
        let test = try await AssemblerUnderTest(confirmation: .hours(1))
        for number in 1...2 as ClosedRange<UInt64> { try await test.send(number, [try flow()]) }
        let held = try await test.announce()
        #expect(held.sequences == [1, 2] && Int(held.day) == Int(noon / 86_400))
        #expect(test.blocks.isEmpty && test.gatheredBytes > 0)
        try await test.send(3, [try flow()])
        try await test.confirm(held)
        try await eventually("the sink has the block") { test.blocks.map(\.token) == [held.token] }
        #expect(!test.sink.isAtRisk(0))
        test.complete(0)
        try await eventually("its batches are acknowledged") { test.acknowledged == [1, 2] }
        let next = try await test.announce()
        #expect(next.sequences == [3] && next.token != held.token)
        try await test.disconnect()
        try await test.stop()
    }

    @Test("a block is at risk once its agent's connection is closed, and its batches are forgotten if it is void")
    func voidBlock() async throws {
        let test = try await AssemblerUnderTest(confirmation: .hours(1))
        try await test.send(1, [try flow()])
        try await test.confirm(try await test.announce())
        try await eventually("the sink has the block") { test.blocks.count == 1 }
        #expect(!test.sink.isAtRisk(0))
        test.sink.void(0)
        try await eventually("the agent is sent away") { !test.isConnected }
        #expect(test.sink.isAtRisk(0) == false && test.acknowledged.isEmpty)
        #expect(test.sink.statistics.withdrawn.flows == 1)
        try await test.stop()
    }

    @Test("a block with a batch that was withdrawn gets another token")
    func announcedAgain() async throws {
        let test = try await AssemblerUnderTest(confirmation: .hours(1))
        for number in 1...2 as ClosedRange<UInt64> { try await test.send(number, [try flow()]) }
        let first = try await test.announce()
        #expect(try await test.withdraw([test.batch(1)]) == [test.batch(1)])
        try await eventually("the agent is told another token") { test.held.count == 2 }
        let second = test.held[1]
        #expect(second.sequences == [2] && second.token != first.token)
        try await test.confirm(first)
        try await test.confirm(second)
        try await eventually("the sink has the rest") { test.blocks.map(\.token) == [second.token] }
        #expect(test.blocks[0].flows == 1 && test.statistics.withdrawn.flows == 1)
        test.complete(0)
        try await eventually("the rest is acknowledged") { test.acknowledged == [2] }
        try await test.stop()
    }

    @Test("a block waits for a confirmation however often batches are withdrawn from it") func withdrawnOften()
        async throws
    {
        let test = try await AssemblerUnderTest(confirmation: .hours(1))
        let batches = 1...10 as ClosedRange<UInt64>
        for number in batches { try await test.send(number, [try flow()]) }
        _ = try await test.announce()
        for number in batches.dropLast() {
            _ = try await test.withdraw([test.batch(number)])
            try await eventually("the agent is told another token") { test.held.count == Int(number) + 1 }
        }
        #expect(test.blocks.isEmpty)
        let last = try #require(test.held.last)
        try await test.confirm(last)
        try await eventually("the sink has the rest") { test.blocks.map(\.token) == [last.token] }
        #expect(test.blocks[0].flows == 1)
        try await test.disconnect()
        try await test.stop()
    }

    @Test("a block does not wait for an agent that confirms nothing: its connection is closed, to send them again")
    func lateConfirmation() async throws {
        let test = try await AssemblerUnderTest(confirmation: .milliseconds(50))
        try await test.send(1, [try flow()])
        _ = try await test.announce()
        try await eventually("the agent is sent away") { !test.isConnected }
        try await test.flush()
        #expect(test.blocks.isEmpty && test.gatheredBytes == 0 && test.statistics.withdrawn.flows == 1)
        try await test.stop()
    }

    @Test("an unconfirmed batch of a broken connection is left out of its block")
    func brokenConnection() async throws {
        let test = try await AssemblerUnderTest(confirmation: .milliseconds(50))
        try await test.send(1, [try flow()])
        try await test.disconnect()
        try await test.flush()
        #expect(test.blocks.isEmpty && test.gatheredBytes == 0 && test.statistics.withdrawn.flows == 1)
        try await test.stop()
    }
}
