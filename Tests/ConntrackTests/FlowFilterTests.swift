// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowCollection
import FlowModel
import Testing

private func flow(
    _ original: FlowTuple, _ transport: TransportProtocol = .tcp, reply: FlowTuple? = nil,
    sent: FlowCounters = FlowCounters(packets: 1, bytes: 40), received: FlowCounters = FlowCounters()
) -> Flow {
    Flow(
        transport: transport, original: original, reply: reply ?? original.mirrored, originalCounters: sent,
        replyCounters: received)
}

private let outward = tuple("10.0.0.1", 40_000, "198.51.100.10", 443)
private let sctp = TransportProtocol(rawValue: 132)

@Suite struct FlowFilterTests {
    @Test(
        "TCP and UDP flows with counts pass the filter; others have a reason to be skipped",
        arguments: [
            (flow(outward), nil),
            (flow(outward, .udp), nil),
            (flow(tuple("fd00::1", 1, "2001:db8::1", 2)), nil),
            (flow(outward, sent: FlowCounters(), received: FlowCounters(packets: 1, bytes: 40)), nil),
            (flow(outward, sent: FlowCounters(packets: 1, bytes: 0)), nil),
            (flow(outward, sent: FlowCounters()), .idle),
            (flow(outward, sctp), .transport),
            (flow(outward, TransportProtocol(rawValue: 1)), .transport),
            // The reason idle takes precedence over all others.
            (flow(outward, sctp, sent: FlowCounters()), .idle),
            (flow(tuple("127.0.0.1", 1, "127.255.255.254", 2)), .loopback),
            (flow(tuple("::1", 1, "::1", 2)), .loopback),
            (flow(tuple("10.0.0.1", 1, "127.0.0.1", 2)), .loopback),
            // Sent to a service address; the responding listener is on the loopback.
            (flow(outward, reply: tuple("127.0.0.1", 15_001, "10.0.0.1", 40_000)), .loopback),
        ] as [(Flow, IgnoredFlows.Reason?)])
    func tcpAndUDPWithSomethingToReportPass(flow: Flow, reason: IgnoredFlows.Reason?) {
        #expect(FlowFilter().reasonToIgnore(flow) == reason)
    }

    @Test("the filter keeps only the selected protocols") func theCollectedProtocolsCanBeChosen() {
        let filter = FlowFilter(transports: [sctp, TransportProtocol(rawValue: 255)])
        #expect(filter.reasonToIgnore(flow(outward, sctp)) == nil)
        #expect(filter.reasonToIgnore(flow(outward, TransportProtocol(rawValue: 255))) == nil)
        #expect(filter.reasonToIgnore(flow(outward, .tcp)) == .transport)
    }

    @Test("the reasons for skipping a flow have the names shown in metrics")
    func reasonsHaveTheNamesThatMetricsShow() {
        #expect(IgnoredFlows.Reason.allCases.map(\.rawValue) == ["idle", "protocol", "loopback", "zone"])
    }
}
