// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import Labeling
import Testing

@testable import FlowBlocks

@Suite struct TalkerReportTests {
    /// Makes a flow of `bytes` bytes from one pod to another on another node.
    private func flow(_ name: String, _ bytes: UInt64) -> LabeledFlow {
        labeledFlow(
            EndpointLabels([.node: "n-\(name)", .namespace: "shop", .pod: name]),
            EndpointLabels([.node: "n-q", .namespace: "shop", .pod: "q"]), sent: FlowCounters(packets: 1, bytes: bytes),
            received: FlowCounters())
    }

    @Test("the report has the 20 heaviest pairs and the total of all") func onlyTheHeaviestLinesAreTold() {
        var minutes = TalkerMinutes()
        minutes.add(flowBlock((1...30).map { flow("p\($0)", UInt64($0)) }), in: 10)
        let report = TalkerReport([minutes], minute: 10)
        #expect(report.lines.map(\.bytes) == (11...30).reversed().map { UInt64($0) })
        #expect(report.bytes == 465)
    }

    @Test("the report shows the last complete minute") func aMinuteIsToldForAsLongAsItIsTheLast() {
        let flows = flowBlock([flow("a", 7)])
        var minutes = TalkerMinutes()
        minutes.add(flows, in: 10)
        #expect(TalkerReport([minutes], minute: 10).minute == 10)
        #expect(!TalkerReport([minutes], minute: 10).isOver)
        minutes.add(flows, in: 10)
        minutes.add(flows, in: 11)
        #expect(TalkerReport([minutes], minute: 11).minute == 10)
        #expect(TalkerReport([minutes], minute: 11).bytes == 14)
        // The clock was set back.
        minutes.add(flows, in: 9)
        #expect(minutes.present.bytes == 14 && minutes.last.bytes == 14)
        minutes.advance(to: 13)
        #expect(TalkerReport([minutes], minute: 13).bytes == 0)
        #expect(TalkerReport([minutes], minute: 13).isOver)
    }
}
