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
    var isOpenedByLocal = true
    var zone: UInt16 = 0
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
                service: service, connectionClass: connectionClass, flags: flags, sent: sent, received: received,
                isOpenedByLocal: isOpenedByLocal, zone: zone),
            observedAt: second)
    }
}

private let everyColumn = BlockForm(columns: FlowColumn.allCases)

private func merged(_ flows: [FlowParts], for form: BlockForm = everyColumn) -> [FlowRecord] {
    var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
    for flow in flows { flow.append(to: &block) }
    var merge = FlowMerge()
    block.mergeFlows(with: &merge, for: form)
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
            { $0.flags = ConnectionFlags(rawValue: 4) }, { $0.second -= 60 }, { $0.isOpenedByLocal = false },
            { $0.zone = 1 }, { $0.zone = 0x100 }, { $0.zone = .max },
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

    @Test("flows that differ only in a column that is not stored are merged")
    func missingColumns() {
        var (opened, zoned) = (FlowParts(), FlowParts())
        opened.isOpenedByLocal = false
        zoned.zone = 0xfff0
        for (column, left) in [(FlowColumn.opened, 2), (.conntrackZone, 2)] {
            let form = BlockForm(columns: FlowColumn.allCases.filter { $0 != column })
            #expect(merged([FlowParts(), opened, zoned, opened, zoned], for: form).count == left)
        }
        let original = BlockForm(columns: FlowColumn.allCases.filter { ![.opened, .conntrackZone].contains($0) })
        let records = merged([opened, zoned, FlowParts()], for: original)
        #expect(records.map(\.sentPackets) == [3])
        #expect(records.allSatisfy { !$0.isOpenedByRemote && $0.zone == 0 })
    }

    @Test("a record has every class, opener and zone, in 72 bytes")
    func layout() {
        #expect(MemoryLayout<FlowRecord>.stride == 72)
        for connectionClass in ConnectionClass.allCases {
            for isOpenedByLocal in [false, true] {
                for zone: UInt16 in [0, 1, 0xff, 0x100, 0x1234, .max] {
                    var flow = FlowParts()
                    (flow.connectionClass, flow.isOpenedByLocal, flow.zone) = (connectionClass, isOpenedByLocal, zone)
                    let record = merged([flow])[0]
                    #expect(ConnectionClass.allCases[Int(record.connectionClass)] == connectionClass)
                    #expect(record.isOpenedByRemote == !isOpenedByLocal && record.zone == zone)
                }
            }
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
        block.mergeFlows(with: &merge, for: everyColumn)
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
