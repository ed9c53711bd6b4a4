// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import Labeling
import TestSupport
import Testing

@testable import FlowBlocks

@Suite struct FlowBlockTests {
    @Test("a block's memory grows with its flows and endpoints") func memoryGrowsWithFlowsAndEndpoints() throws {
        let labels = (podLabels("a"), podLabels("b"))
        let one = flowBlock([labeledFlow(labels.0, labels.1)])
        let many = flowBlock((0..<10_000).map { _ in labeledFlow(labels.0, labels.1) })
        #expect(one.memoryBytes > 0 && one.memoryBytes < 64 << 10)
        // The allocator rounds the memory of a few labels.
        #expect(abs(many.memoryBytes - one.memoryBytes - 72 * 9_999) < 1 << 10)
        let endpoints = flowBlock((0..<10_000).map { labeledFlow(EndpointLabels([.pod: "\($0)"]), labels.1) })
        #expect(endpoints.memoryBytes > many.memoryBytes + 10_000 * 8)
    }

    @Test("a block has a row for each direction with traffic, and the sum of bytes") func rowsAndBytesAreCounted() {
        #expect(flowBlock([]).rows == 0)
        #expect(flowBlock([labeledFlow(sent: FlowCounters(), received: FlowCounters())]).rows == 0)
        #expect(flowBlock([labeledFlow(received: FlowCounters())]).rows == 1)
        #expect(flowBlock([labeledFlow(), labeledFlow()]).rows == 4)
        #expect(flowBlock([labeledFlow(), labeledFlow(received: FlowCounters())]).reportedBytes == 400)
    }

    @Test("a flow of another day is a programming error") func aBlockHasOneDay() async {
        #expect(FlowBlock.day(of: lastSecondOfADay) + 1 == FlowBlock.day(of: lastSecondOfADay + 1))
        await #expect(processExitsWith: .failure) {
            var block = FlowBlock(environment: "testing", dayOf: lastSecondOfADay)
            block.append(labeledFlow(), observedAt: lastSecondOfADay + 1)
        }
    }

    /// Returns the contents of a block's rows, in the block's order.
    private func contents(_ block: FlowBlock) -> [[UInt64]] {
        var rows = FlowRows()
        rows.load(block)
        return (0..<rows.count).map { row in
            [UInt64(rows.local.port[row]), UInt64(rows.direction[row]), rows.bytes[row], rows.packets[row]]
        }
    }

    @Test("a block without its withdrawn batches equals one that never had them")
    func withdrawal() {
        var generator = SeededGenerator(seed: 5)
        let labels = (podLabels("a"), podLabels("b"))
        let agent = AgentIdentity(id: 1, nodeName: "node-a")
        for _ in 0..<200 {
            let withdrawn = Set((0..<8).filter { _ in Bool.random(using: &generator) }.map(UInt64.init))
            var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
            var expected = FlowBlock(environment: "", dayOf: lastSecondOfADay)
            var present: Set<BatchIdentity> = []
            for sequence in 0..<6 as Range<UInt64> {
                for _ in 0..<Int.random(in: 0...4, using: &generator) {
                    let counters = (0..<2).map { _ in
                        FlowCounters(packets: .random(in: 0...1, using: &generator), bytes: 0)
                    }
                    let flow = labeledFlow(
                        labels.0, labels.1, ports: (.random(in: 0...9, using: &generator), 1), sent: counters[0],
                        received: counters[1])
                    let flowsBefore = block.flows
                    block.append(flow, observedAt: lastSecondOfADay)
                    if block.flows > flowsBefore, withdrawn.contains(sequence) {
                        present.insert(BatchIdentity(agent: agent, sequence: sequence))
                    }
                    if !withdrawn.contains(sequence) { expected.append(flow, observedAt: lastSecondOfADay) }
                }
                block.endBatch(BatchIdentity(agent: agent, sequence: sequence))
            }
            let identities = Set(withdrawn.map { BatchIdentity(agent: agent, sequence: $0) })
            #expect(block.withdraw(identities) == present)
            #expect(block.withdraw(identities).isEmpty)
            #expect(contents(block) == contents(expected))
            #expect(block.flows == expected.flows && block.rows == expected.rows)
            #expect(block.reportedBytes == expected.reportedBytes)
        }
    }
}
