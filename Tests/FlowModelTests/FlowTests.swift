// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct FlowTests {
    @Test("the mirrored tuple has both ends swapped") func theMirrorSwapsBothEnds() throws {
        let tuple = try tuple("10.0.0.1", 40_000, "10.0.0.2", 443)
        #expect(tuple.mirrored == (try self.tuple("10.0.0.2", 443, "10.0.0.1", 40_000)))
        #expect(tuple.mirrored.mirrored == tuple)
    }

    @Test("a flow whose reply is the mirrored original is not translated")
    func aFlowWhoseReplyIsTheMirrorIsNotTranslated() throws {
        let v4 = try tuple("10.0.0.1", 40_000, "10.0.0.2", 443)
        let v6 = try tuple("2001:db8::1", 40_000, "2001:db8::2", 443)
        #expect(!flow(v4, v4.mirrored).isTranslated)
        #expect(!flow(v6, v6.mirrored).isTranslated)
    }

    @Test("a flow whose reply differs from the mirrored original is translated")
    func anyDifferenceFromTheMirrorIsATranslation() throws {
        let original = try tuple("10.0.0.1", 40_000, "10.96.0.1", 443)
        for reply in [
            try tuple("10.0.0.2", 443, "10.0.0.1", 40_000),  // destination address
            try tuple("10.96.0.1", 8443, "10.0.0.1", 40_000),  // destination port
            try tuple("10.96.0.1", 443, "192.0.2.1", 40_000),  // source address
            try tuple("10.96.0.1", 443, "10.0.0.1", 1024),  // source port
        ] {
            #expect(flow(original, reply).isTranslated, "\(reply)")
        }
        #expect(flow(original, original).isTranslated)
    }

    @Test("a flow is IPv4 only if all four addresses are") func aFlowIsIPv4WhereAllFourAddressesAre() throws {
        let v4 = try tuple("10.0.0.1", 1, "10.0.0.2", 2)
        #expect(flow(v4, v4.mirrored).isIPv4)
        for index in 0..<4 {
            var mixed = flow(v4, v4.mirrored)
            let v6 = try address("2001:db8::1")
            switch index {
            case 0: mixed.original.source = v6
            case 1: mixed.original.destination = v6
            case 2: mixed.reply.source = v6
            default: mixed.reply.destination = v6
            }
            #expect(!mixed.isIPv4)
        }
    }

    @Test("a flow's bytes are the sum of both directions") func bytesAreThoseOfBothDirections() throws {
        let tuple = try tuple("10.0.0.1", 1, "10.0.0.2", 2)
        var flow = flow(tuple, tuple.mirrored)
        #expect(flow.bytes == 0)
        flow.originalCounters.bytes = 1_500
        flow.replyCounters.bytes = 60
        #expect(flow.bytes == 1_560)
    }

    @Test("counters are zero only without packets and bytes") func countersAreZeroOnlyWithoutPacketsAndBytes() {
        #expect(FlowCounters().isZero)
        #expect(!FlowCounters(packets: 1).isZero)
        #expect(!FlowCounters(bytes: 1).isZero)
    }

    @Test func protocolsHaveTheirAssignedNumbers() {
        #expect(TransportProtocol.tcp.rawValue == 6)
        #expect(TransportProtocol.udp.rawValue == 17)
    }

    private func tuple(
        _ source: String, _ sourcePort: UInt16, _ destination: String, _ destinationPort: UInt16
    ) throws -> FlowTuple {
        FlowTuple(
            source: try address(source), destination: try address(destination), sourcePort: sourcePort,
            destinationPort: destinationPort)
    }

    private func flow(_ original: FlowTuple, _ reply: FlowTuple) -> Flow {
        Flow(
            transport: .tcp, original: original, reply: reply, originalCounters: FlowCounters(),
            replyCounters: FlowCounters())
    }
}
