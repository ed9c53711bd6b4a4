// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Testing

@Suite struct BatchMergeTests {
    @Test("equal flows of merged batches are added up") func equalFlowsAreAddedUp() throws {
        let merged = ExportBatch.merged([
            .test(4, [.test(1, bytes: 100, packets: 1), .test(2, bytes: 7, packets: 1)], at: 61_000),
            .test(5, [.test(2, bytes: 3, packets: 2)], at: 66_000),
            .test(9, [.test(3, bytes: 50, packets: 5), .test(1, bytes: 11, packets: 1)], at: 71_000),
        ])
        try #require(merged.count == 1)
        #expect(merged[0].sequence == 9)
        #expect(merged[0].observedAtMilliseconds == 61_000)
        #expect(merged[0].amount.flows == 3)
        #expect(merged[0].amount.bytes == 342)
        let sent = try SentBatch(merged[0])
        #expect((sent.sequence, sent.observedAtMilliseconds) == (9, 61_000))
        #expect(
            Set(sent.flows) == [
                .test(1, bytes: 111, packets: 2), .test(2, bytes: 10, packets: 3), .test(3, bytes: 50, packets: 5),
            ])
    }

    @Test("flows are equal only if protocol and both tuples are") func onlyTheWholeTupleMakesAFlowTheSame() throws {
        let flow = Flow.test(1)
        var others = [Flow](repeating: flow, count: 4)
        others[0].transport = .udp
        others[1].original.sourcePort += 1
        others[2].reply.source = IPAddress(v4: 1)
        others[3].reply.destinationPort += 1
        let merged = ExportBatch.merged([.test(1, [flow]), .test(2, others), .test(3, [flow])])
        try #require(merged.count == 1)
        #expect(merged[0].amount.flows == 5)
    }

    @Test("IPv4 and IPv6 flows are merged into separate batches") func familiesKeepBatchesOfTheirOwn() throws {
        let merged = ExportBatch.merged([
            .test(1, [.test(1)]), .test(2, [.test(1, isIPv4: false)]), .test(3, [.test(1)]),
            .test(4, [.test(1, isIPv4: false)]),
        ])
        #expect(merged.map(\.sequence) == [3, 4])
        let sent = try merged.map { try SentBatch($0) }
        #expect(sent.map(\.flows.count) == [1, 1])
        #expect(sent.allSatisfy { $0.reportedBytes == 4_000 })
    }

    @Test("batches that merging would not make smaller stay unchanged")
    func whatMergingDoesNotMakeSmallerStaysAsItIs() {
        let full = (0..<2).map { batch in
            ExportBatch.test(
                UInt64(batch + 1),
                (0..<FlowBatchBuilder.maximumFlows).map { Flow.test(batch * FlowBatchBuilder.maximumFlows + $0) })
        }
        #expect(ExportBatch.merged(full).map(\.frame) == full.map(\.frame))
        let alone = [ExportBatch.test(7)]
        #expect(ExportBatch.merged(alone).map(\.frame) == alone.map(\.frame))
    }

    @Test("merged flows that exceed one batch fill several") func moreFlowsThanABatchHoldsFillSeveral() throws {
        let batches = (0..<6).map { batch in
            ExportBatch.test(UInt64(batch + 11), (0..<750).map { Flow.test((batch * 500 + $0) % 2_250) })
        }
        let merged = ExportBatch.merged(batches)
        #expect(merged.map(\.sequence) == [14, 15, 16])
        let sent = try merged.map { try SentBatch($0) }
        #expect(sent.map(\.flows.count).max() == FlowBatchBuilder.maximumFlows)
        #expect(sent.reduce(0) { $0 + $1.flows.count } == 2_250)
        #expect(sent.reduce(0) { $0 + $1.reportedBytes } == 6 * 750 * 2_000)
    }

    @Test("counters that add up to the maximum are summed exactly")
    func aFlowOfTwoHalvesOfTheCounterRangeIsSummedExactly() throws {
        let half = UInt64.max / 2
        let merged = ExportBatch.merged([
            .test(1, [.test(1, bytes: half, packets: half)]), .test(2, [.test(1, bytes: half + 1, packets: half + 1)]),
        ])
        let sent = try SentBatch(try #require(merged.first))
        #expect(sent.flows == [.test(1, bytes: .max, packets: .max)])
    }
}
