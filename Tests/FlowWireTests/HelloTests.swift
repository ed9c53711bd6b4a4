// SPDX-License-Identifier: Apache-2.0

import FlowModel
import NIOCore
import Secrets
import Testing

@testable import FlowWire

@Suite struct HelloTests {
    static let recorded = """
        00 00 00 24                         # length: 36
        0a 22                               # AgentMessage.hello
           08 01                            #   protocol_version: 1
           12 06 6e 6f 64 65 2d 61          #   node_name: node-a
           1a 10 00 11 22 33 44 55 66 77    #   agent_id
                 88 99 aa bb cc dd ee ff
           22 04 31 2e 32 33                #   software_version: 1.23
        """
    static let hello = Hello(
        nodeName: "node-a", agentID: AgentID(bits: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        softwareVersion: "1.23")

    @Test("the bytes of a Hello equal the recorded ones") func itsBytesAreTheRecordedOnes() throws {
        let recorded = try ByteBuffer(annotatedHex: Self.recorded)
        #expect(Self.hello.frame() == recorded)
        #expect(try DecodedMessage(message(of: recorded)) == .hello(Self.hello))
    }

    @Test(
        "a Hello is decoded as it was encoded",
        arguments: [
            Hello(protocolVersion: 0, nodeName: "", agentID: AgentID(bits: 0), softwareVersion: ""),
            Hello(protocolVersion: .max, nodeName: "knoten-ä-🦊", agentID: AgentID(bits: .max), softwareVersion: "1\n2"),
            Hello(
                nodeName: "node-a", agentID: .random(), softwareVersion: "1", token: BearerToken("eyJhbGciOi.x-_y.z")),
            Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "1", hostAddresses: []),
            Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "1", confirmsHeld: true),
            Hello(
                nodeName: "node-a", agentID: .random(), softwareVersion: "1", token: BearerToken("t"),
                hostAddresses: [IPAddress(v4: 0x0af4_0101), IPAddress(bits: 0xfe80 << 112 | 1)]),
            Hello(nodeName: String(repeating: "n", count: 100_000), agentID: .random(), softwareVersion: "dev"),
        ])
    func itComesBackFromItsFrame(_ hello: Hello) throws {
        #expect(try DecodedMessage(message(of: hello.frame())) == .hello(hello))
    }

    @Test("missing fields of a Hello have their defaults") func missingFieldsHaveTheirDefaults() throws {
        let id = [UInt8](repeating: 0xee, count: 16)
        let hello = try DecodedMessage(Protobuf.field(1, Protobuf.field(3, id)))
        let expected = try id.withUnsafeBytes {
            Hello(protocolVersion: 0, nodeName: "", agentID: try AgentID($0), softwareVersion: "")
        }
        #expect(hello == .hello(expected))
    }

    @Test("a Hello with an agent id of the wrong length is rejected", arguments: [0, 15, 17])
    func anIDOfAnotherLengthIsRefused(_ count: Int) {
        let id = [UInt8](repeating: 1, count: count)
        #expect(throws: WireError.badAgentID(count)) {
            try DecodedMessage(Protobuf.field(1, Protobuf.field(1, varint: 1) + Protobuf.field(3, id)))
        }
    }

    @Test("a Hello without an agent id is rejected") func aMissingIDIsRefused() {
        #expect(throws: WireError.badAgentID(0)) { try DecodedMessage(Protobuf.field(1, [])) }
    }

    @Test("a Hello is printed without its token") func theTokenIsNotPrinted() {
        let hello = Hello(
            nodeName: "node-a", agentID: .random(), softwareVersion: "test", token: BearerToken("very secret"))
        var dumped = ""
        dump(hello, to: &dumped)
        #expect(dumped.contains("node-a"))
        for text in ["\(hello)", String(reflecting: hello), dumped] { #expect(!text.contains("very secret")) }
    }

    @Test("unknown fields of a Hello are ignored") func unknownFieldsAreIgnored() throws {
        var message = try message(of: Self.hello.frame())
        _ = message.readBytes(length: 2)
        let known = message.readableBytesView
        let later =
            Protobuf.field(99, varint: .max) + known + Protobuf.field(98, Array("later".utf8))
            + Protobuf.field(1 << 28, [])
        #expect(try DecodedMessage(Protobuf.field(1, later) + Protobuf.field(77, [1, 2, 3])) == .hello(Self.hello))
    }
}
