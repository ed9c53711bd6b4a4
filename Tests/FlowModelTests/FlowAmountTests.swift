// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct FlowAmountTests {
    @Test("amounts are added and subtracted, and wrap around instead of trapping") func arithmetic() {
        var amount = FlowAmount(flows: 2, bytes: 300) + FlowAmount(flows: 1, bytes: 50)
        #expect(amount == FlowAmount(flows: 3, bytes: 350))
        amount -= FlowAmount(flows: 1, bytes: 300)
        #expect(amount == FlowAmount(flows: 2, bytes: 50))
        amount += FlowAmount(flows: .max, bytes: .max)
        #expect(amount == FlowAmount(flows: 1, bytes: 49))
    }

    @Test("a flow counts as one, with the bytes of both directions") func flows() {
        let tuple = FlowTuple(
            source: IPAddress(v4: 1), destination: IPAddress(v4: 2), sourcePort: 1, destinationPort: 2)
        let flow = Flow(
            transport: .tcp, original: tuple, reply: tuple.mirrored,
            originalCounters: FlowCounters(packets: 1, bytes: 40), replyCounters: FlowCounters(packets: 2, bytes: 100))
        var amount = FlowAmount()
        amount.add(flow)
        #expect(amount == FlowAmount(flows: 1, bytes: 140))
    }
}
