// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct TransportProtocolTests {
    @Test(
        "the names are those of /etc/protocols",
        arguments: [
            ("icmp", 1), ("tcp", 6), ("udp", 17), ("dccp", 33), ("gre", 47), ("icmpv6", 58), ("sctp", 132),
            ("udplite", 136),
        ])
    func names(name: String, number: UInt8) {
        let transport = TransportProtocol(rawValue: number)
        #expect(TransportProtocol.byName[name] == transport && TransportProtocol.byName.count == 8)
        #expect(transport.name == name && transport.description == name)
        #expect(TransportProtocol(name) == transport && TransportProtocol(name.uppercased()) == transport)
    }

    @Test("a protocol without a name is its number")
    func numbers() {
        #expect(TransportProtocol(rawValue: 0).description == "0" && TransportProtocol(rawValue: 0).name == nil)
        #expect(TransportProtocol("255") == TransportProtocol(rawValue: 255))
        for text in ["", " tcp", "tcp,udp", "256", "-1", "six", "ip"] { #expect(TransportProtocol(text) == nil) }
    }

    @Test("every protocol is read back from its description")
    func roundTrip() {
        for number in UInt8.min ... .max {
            let transport = TransportProtocol(rawValue: number)
            #expect(TransportProtocol(transport.description) == transport)
        }
    }
}
