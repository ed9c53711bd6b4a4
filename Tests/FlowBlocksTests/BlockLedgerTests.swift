// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import Synchronization
import Testing

@testable import FlowBlocks

@Suite struct BlockLedgerTests {
    private final class Settlements: Sendable { let values = Mutex<[BlockSettlement]>([]) }

    /// Makes a block of `flows` flows, all of batch `batch` if it is given.
    private func block(_ flows: Int, batch: UInt64? = nil) -> FlowBlock {
        let labels = (podLabels("a"), podLabels("b"))
        var block = flowBlock((0..<flows).map { labeledFlow(labels.0, labels.1, ports: (UInt16($0), 1)) })
        if let batch { block.endBatch(identity(batch)) }
        return block
    }

    private func identity(_ sequence: UInt64) -> BatchIdentity {
        BatchIdentity(agent: AgentIdentity(id: 7, nodeName: "node-a"), sequence: sequence)
    }

    /// Returns a function that returns a ledger's announcements so far.
    private func pressure(of ledger: BlockLedger) -> () -> [Bool] {
        final class Announced: Sendable { let values = Mutex<[Bool]>([]) }
        let announced = Announced()
        ledger.addPressureHandler { isHigh in announced.values.withLock { $0.append(isHigh) } }
        return { announced.values.withLock { $0 } }
    }

    @Test("a block's flows and memory are counted in one place at every step until it is settled")
    func oneBlock() {
        let ledger = BlockLedger(maximumBytes: .max)
        let sink = MemorySink(account: ledger.openAccount())
        var block = block(3)
        var counted = FlowAssembler.Statistics()
        counted.received = .init(flows: 3, bytes: 900)
        ledger.record(counted, filling: block)
        block.append(labeledFlow(), observedAt: lastSecondOfADay)
        counted.received = .init(flows: 1, bytes: 300)
        ledger.record(counted, filling: block)
        var statistics = ledger.statistics
        #expect(statistics.flows.received.flows == 4 && statistics.flows.gathering.flows == 4)
        #expect(statistics.flows.gathering.bytes == 1_200 && statistics.memory.gatheringBytes == block.memoryBytes)

        let settlements = Settlements()
        sink.submit(block) { settlement in settlements.values.withLock { $0.append(settlement) } }
        statistics = ledger.statistics
        #expect(statistics.flows.gathering.flows == 0 && statistics.memory.gatheringBytes == 0)
        #expect(statistics.sinks[0].pendingFlows == 4 && statistics.sinks[0].pendingBytes == 1_200)
        #expect(statistics.sinks[0].queuedBytes == block.memoryBytes && statistics.sinks[0].queuedRows == 8)
        sink.settle(0, as: .stored)
        #expect(settlements.values.withLock { $0 } == [BlockSettlement(outcome: .stored, withdrawn: [])])
        statistics = ledger.statistics
        #expect(statistics.sinks[0].stored == .init(blocks: 1, flows: 4, rows: 8, reportedBytes: 1_200))
        #expect(statistics.sinks[0].pendingFlows == 0 && statistics.sinks[0].queuedBlocks == 0)
        #expect(statistics.sinks[0].queuedBytes == 0 && statistics.sinks[0].oldestAge == nil)
    }

    @Test("a block is rejected for the reason of its first rejected part")
    func rejection() {
        let sink = MemorySink(account: BlockLedger(maximumBytes: .max).openAccount())
        let settlements = Settlements()
        for _ in 0..<2 {
            sink.submit(block(8)) { settlement in settlements.values.withLock { $0.append(settlement) } }
        }
        sink.settle(0, as: .rejected(reason: "first"), .stored, .rejected(reason: "second"))
        sink.settle(1, as: .stored, .stored)
        #expect(settlements.values.withLock { $0.map(\.outcome) } == [.rejected(reason: "first"), .stored])
        #expect(sink.statistics.rejected.mapValues(\.flows) == ["first": 4, "second": 2])
        #expect(sink.statistics.stored.flows == 10)
    }

    @Test("a block whose batches are all withdrawn is never settled")
    func emptiedBlock() {
        let ledger = BlockLedger(maximumBytes: .max)
        let sink = MemorySink(account: ledger.openAccount())
        let settlements = Settlements()
        sink.submit(block(5, batch: 1)) { settlement in settlements.values.withLock { $0.append(settlement) } }
        #expect(sink.withdraw([identity(1)]) == [identity(1)])
        #expect(sink.load == SinkLoad(heldBytes: 0, oldestWait: nil, problem: nil))
        #expect(sink.statistics.queuedBlocks == 0 && sink.statistics.withdrawn.flows == 5)
        #expect(settlements.values.withLock { $0 }.isEmpty)
    }

    @Test("backpressure begins above the memory limit on all blocks and ends at half of it")
    func bound() {
        let (small, large) = (block(1), block(3_000))
        let ledger = BlockLedger(maximumBytes: small.memoryBytes + 2 * large.memoryBytes)
        let announced = pressure(of: ledger)
        let sinks = (0..<2).map { _ in MemorySink(account: ledger.openAccount()) }
        for sink in sinks { sink.submit(large) { _ in } }
        ledger.record(FlowAssembler.Statistics(), filling: small)
        #expect(!ledger.isUnderPressure && announced() == [])
        // The limit covers the blocks of both sinks and those that are being filled.
        let memory = ledger.statistics.memory
        #expect(sinks.map(\.load.heldBytes).reduce(memory.gatheringBytes, +) == memory.maximumBytes)
        let further = block(1)
        ledger.record(FlowAssembler.Statistics(), filling: further)
        #expect(ledger.isUnderPressure && announced() == [true])
        #expect(pressure(of: ledger)() == [true])
        // Submitting a block to a sink does not change the memory that counts.
        sinks[0].submit(further) { _ in }
        #expect(announced() == [true])
        sinks[0].settle(0, as: .stored)
        #expect(ledger.isUnderPressure && announced() == [true])
        sinks[1].settle(0, as: .stored)
        #expect(!ledger.isUnderPressure && announced() == [true, false])
        let time = ledger.statistics.memory.pressureTime
        #expect(time > .zero && ledger.statistics.memory.pressureTime == time)
    }

    @Test("every received flow is gathering, pending, stored, rejected or withdrawn at every moment")
    func conservation() async {
        let ledger = BlockLedger(maximumBytes: 1 << 20)
        let sink = MemorySink(account: ledger.openAccount())
        await withTaskGroup { group in
            group.addTask {
                while !Task.isCancelled {
                    let now = ledger.statistics
                    let held = now.sinks[0]
                    #expect(
                        now.flows.received.flows
                            == now.flows.gathering.flows + held.pendingFlows + held.stored.flows
                            + (held.rejected["reason"]?.flows ?? 0) + held.withdrawn.flows)
                    await Task.yield()
                }
            }
            await Task.yield()
            for number in 0..<300 {
                var block = block(0)
                for batch in 0..<3 {
                    let flows = labeledFlow(ports: (UInt16(number), UInt16(batch)))
                    block.append(flows, observedAt: lastSecondOfADay)
                    block.endBatch(identity(UInt64(number * 3 + batch)))
                    var counted = FlowAssembler.Statistics()
                    counted.received = .init(flows: 1, bytes: 300)
                    ledger.record(counted, filling: block)
                }
                sink.submit(block) { _ in }
                if number % 3 == 0 { _ = sink.withdraw([identity(UInt64(number * 3))]) }
                sink.settle(number, as: .stored, .rejected(reason: "reason"))
            }
            group.cancelAll()
        }
        #expect(sink.statistics.withdrawn.flows == 100 && ledger.statistics.memory.gatheringBytes == 0)
    }
}
