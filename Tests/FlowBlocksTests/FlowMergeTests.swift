// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import Labeling
import TestSupport
import Testing

@testable import FlowBlocks

/// The parts of a flow; each test changes some of them.
private struct FlowParts {
    var transport = TransportProtocol.tcp
    var localLabels = labels[0]
    var remoteLabels = labels[1]
    var service: LabelsReference?
    var localAddress = IPAddress(v4: 0x0a00_0001)
    var remoteAddress = IPAddress(v4: 0x0a00_0002)
    var ports: (UInt16, UInt16) = (1, 2)
    var connectionClass = ConnectionClass.intraVPC
    var flags = ConnectionFlags()
    var second = lastSecondOfADay
    var sent = FlowCounters(packets: 1, bytes: 10)
    var received = FlowCounters(packets: 2, bytes: 20)

    static let labels = (0..<3).map { kept(podLabels("merge \($0)")) }

    func append(to block: inout FlowBlock) {
        block.append(
            LabeledFlow(
                transport: transport,
                local: LabeledEndpoint(labels: localLabels, address: localAddress, port: ports.0),
                remote: LabeledEndpoint(labels: remoteLabels, address: remoteAddress, port: ports.1),
                service: service, connectionClass: connectionClass, flags: flags, sent: sent, received: received),
            observedAt: second)
    }
}

private func merged(_ flows: [FlowParts]) -> [FlowRecord] {
    var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
    for flow in flows { flow.append(to: &block) }
    var merge = FlowMerge()
    block.mergeFlows(with: &merge)
    return block.memory.records
}

@Suite struct FlowMergeTests {
    /// Every part of a flow distinguishes it, except its counters.
    @Test("only flows that are equal except for their counters are merged")
    func flowsThatDifferStayApartAndTheOthersAreSummed() {
        let changes: [(inout FlowParts) -> Void] = [
            { _ in }, { $0.transport = .udp }, { $0.localLabels = FlowParts.labels[2] },
            { $0.remoteLabels = FlowParts.labels[2] }, { $0.service = FlowParts.labels[2] },
            { $0.localAddress = IPAddress(v4: 9) }, { $0.remoteAddress = IPAddress(v4: 9) },
            { $0.localAddress = IPAddress(bits: 1 << 64) }, { $0.localAddress = IPAddress(bits: 1 << 65) },
            { $0.remoteAddress = IPAddress(bits: 1 << 64) }, { $0.ports.0 = 7 }, { $0.ports.1 = 7 },
            { $0.ports = (2, 1) }, { $0.connectionClass = .publicInternet },
            { $0.flags = ConnectionFlags(rawValue: 4) }, { $0.second -= 60 },
        ]
        var flows: [FlowParts] = []
        for round in 0..<3 {
            for change in changes {
                var flow = FlowParts()
                change(&flow)
                if round == 1 { flow.second -= 59 }
                if round == 2 { flow.received = FlowCounters() }
                flows.append(flow)
            }
        }
        let records = merged(flows)
        #expect(records.count == changes.count)
        for record in records {
            #expect(record.sentPackets == 3 && record.sentBytes == 30)
            #expect(record.receivedPackets == 4 && record.receivedBytes == 40)
        }
    }

    @Test("observations of opposite directions of a connection become two rows")
    func twoObservationsOfOneDirectionEachMakeTwoRows() {
        var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
        var flow = FlowParts()
        flow.received = FlowCounters()
        for _ in 0..<2 { flow.append(to: &block) }
        swap(&flow.sent, &flow.received)
        flow.append(to: &block)
        #expect(block.rows == 3)
        var (merge, rows) = (FlowMerge(), FlowRows())
        block.mergeFlows(with: &merge)
        rows.load(block)
        #expect(rows.count == 2)
    }

    @Test("the sums of merged flows equal those of the original flows")
    func sumsAreThoseOfTheFlowsHoweverManyMerge() {
        var generator = SeededGenerator(seed: 11)
        var sums: [[UInt64]: UInt64] = [:]
        var flows: [FlowParts] = []
        for _ in 0..<20_000 {
            var flow = FlowParts()
            let bits = generator.next()
            flow.ports = (UInt16(bits % 50), UInt16(bits >> 8 & 7))
            flow.localAddress =
                bits >> 16 & 1 == 0
                ? IPAddress(v4: UInt32(bits >> 20 & 7)) : IPAddress(bits: UInt128(bits >> 20 & 7) << 96)
            flow.sent.bytes = bits >> 40 & 0xffff
            flows.append(flow)
            let key = [
                UInt64(flow.ports.0), UInt64(flow.ports.1), bits >> 16 & 1, bits >> 20 & 7,
            ]
            sums[key, default: 0] += flow.sent.bytes
        }
        let records = merged(flows)
        #expect(records.count == sums.count)
        let areEqual = records.map(\.sentBytes).sorted() == sums.values.sorted()
        #expect(areEqual)
    }
}
