// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import Secrets
import Testing

/// Messages as agents and servers of the first release send them. Their bytes do not change: a later release reads them
/// with the same meaning, and writes the same bytes for what they say.
@Suite struct RecordedMessagesTests {
    private static let time: UInt64 = 1_700_000_000_000

    private static func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    private static let hello = """
        00 00 00 46                                     # length: 70
        0a 44                                           # AgentMessage.hello
           08 01                                        #   protocol_version: 1
           12 06 6e 6f 64 65 2d 62                      #   node_name: node-b
           1a 10 00 01 02 03 04 05 06 07                #   agent_id
                 08 09 0a 0b 0c 0d 0e 0f
           22 03 32 2e 30                               #   software_version: 2.0
           2a 07 61 2e 62 2d 63 5f 64                   #   token: a.b-c_d
           32 18                                        #   host_addresses
              0a 04 01 01 f4 0a                         #     ipv4: 10.244.1.1
              12 10 fd 00 00 00 00 00 00 00             #     ipv6: fd00::1
                    00 00 00 00 00 00 00 01
        """

    private static let ipv4Batch = """
        00 00 00 4a                                     # length: 74
        12 48                                           # AgentMessage.batch
           08 2a                                        #   sequence: 42
           10 80 d0 95 ff bc 31                         #   observed_at_ms: 1700000000000
           1a 04 05 00 00 0a                            #   ipv4_source: 10.0.0.5
           22 04 0a 00 60 0a                            #   ipv4_destination: 10.96.0.10
           3a 03 80 f1 02                               #   source_port: 47232
           42 01 35                                     #   destination_port: 53
           4a 01 11                                     #   transport: 17
           52 01 01                                     #   original_packets: 1
           5a 01 46                                     #   original_bytes: 70
           62 01 02                                     #   reply_packets: 2
           6a 02 ac 02                                  #   reply_bytes: 300
           72 01 00                                     #   translated: flow 0
           7a 04 09 00 f4 0a                            #   translated_ipv4_source: 10.244.0.9
           82 01 04 05 00 00 0a                         #   translated_ipv4_destination: 10.0.0.5
           9a 01 02 e9 28                               #   translated_source_port: 5225
           a2 01 03 80 f1 02                            #   translated_destination_port: 47232
        """

    private static let ipv6Batch = """
        00 00 00 ac                                     # length: 172
        12 a9 01                                        # AgentMessage.batch
           08 07                                        #   sequence: 7
           10 80 d0 95 ff bc 31                         #   observed_at_ms: 1700000000000
           2a 20 20 01 0d b8 00 00 00 00                #   ipv6_source: 2001:db8::5,
                 00 00 00 00 00 00 00 05
                 20 01 0d b8 00 00 00 00                #     2001:db8::5
                 00 00 00 00 00 00 00 05
           32 20 fd 00 00 00 00 00 00 00                #   ipv6_destination: fd00::a,
                 00 00 00 00 00 00 00 0a
                 20 01 0d b8 00 00 00 00                #     2001:db8::b
                 00 00 00 00 00 00 00 0b
           3a 06 80 f1 02 c0 b8 02                      #   source_port: 47232, 40000
           42 03 35 bb 03                               #   destination_port: 53, 443
           4a 02 11 06                                  #   transport: 17, 6
           52 03 01 ac 02                               #   original_packets: 1, 300
           5a 07 5a 80 80 80 80 80 20                   #   original_bytes: 90, 2^40
           62 02 02 00                                  #   reply_packets: 2, 0
           6a 03 c0 02 00                               #   reply_bytes: 320, 0
           72 01 00                                     #   translated: flow 0
           8a 01 10 fd 00 00 00 00 00 00 00             #   translated_ipv6_source: fd00::9
                    00 00 00 00 00 00 00 09
           92 01 10 fd 00 00 00 00 00 00 00             #   translated_ipv6_destination: fd00::5
                    00 00 00 00 00 00 00 05
           9a 01 02 e9 28                               #   translated_source_port: 5225
           a2 01 03 80 f1 02                            #   translated_destination_port: 47232
        """

    private static func ipv4Flow() throws -> Flow {
        Flow(
            transport: .udp,
            original: FlowTuple(
                source: try address("10.0.0.5"), destination: try address("10.96.0.10"), sourcePort: 47_232,
                destinationPort: 53),
            reply: FlowTuple(
                source: try address("10.244.0.9"), destination: try address("10.0.0.5"), sourcePort: 5_225,
                destinationPort: 47_232),
            originalCounters: FlowCounters(packets: 1, bytes: 70),
            replyCounters: FlowCounters(packets: 2, bytes: 300))
    }

    private static func ipv6Flows() throws -> [Flow] {
        let plain = FlowTuple(
            source: try address("2001:db8::5"), destination: try address("2001:db8::b"), sourcePort: 40_000,
            destinationPort: 443)
        return [
            Flow(
                transport: .udp,
                original: FlowTuple(
                    source: try address("2001:db8::5"), destination: try address("fd00::a"), sourcePort: 47_232,
                    destinationPort: 53),
                reply: FlowTuple(
                    source: try address("fd00::9"), destination: try address("fd00::5"), sourcePort: 5_225,
                    destinationPort: 47_232),
                originalCounters: FlowCounters(packets: 1, bytes: 90),
                replyCounters: FlowCounters(packets: 2, bytes: 320)),
            Flow(
                transport: .tcp, original: plain, reply: plain.mirrored,
                originalCounters: FlowCounters(packets: 300, bytes: 1 << 40), replyCounters: FlowCounters()),
        ]
    }

    @Test("an agent's recorded messages are read and written as before")
    func agent() throws {
        let hello = Hello(
            nodeName: "node-b", agentID: AgentID(bits: 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f),
            softwareVersion: "2.0", token: BearerToken("a.b-c_d"),
            hostAddresses: [try Self.address("10.244.1.1"), try Self.address("fd00::1")])
        let (ipv4, ipv6) = ([try Self.ipv4Flow()], try Self.ipv6Flows())
        let addresses = try #require(hello.hostAddresses)
        let cases: [(String, DecodedMessage, ByteBuffer)] = [
            (Self.hello, .hello(hello), hello.frame()),
            (
                Self.ipv4Batch, .batch(sequence: 42, observedAtMilliseconds: Self.time, flows: ipv4),
                FlowBatchBuilder.frame(.ipv4, ipv4, sequence: 42, observedAtMilliseconds: Self.time)
            ),
            (
                Self.ipv6Batch, .batch(sequence: 7, observedAtMilliseconds: Self.time, flows: ipv6),
                FlowBatchBuilder.frame(.ipv6, ipv6, sequence: 7, observedAtMilliseconds: Self.time)
            ),
            (
                "00 00 00 1a 1a 18 0a 04 01 01 f4 0a 12 10 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01",
                .hostAddresses(addresses), AgentMessage.frame(hostAddresses: addresses)
            ),
            ("00 00 00 02 22 00", .leaving, AgentMessage.leavingFrame),
            ("00 00 00 00", .unknown, AgentMessage.signOfLife),
        ]
        for (hex, expected, frame) in cases {
            let recorded = try ByteBuffer(annotatedHex: hex)
            #expect(try DecodedMessage(message(of: recorded)) == expected)
            #expect(frame == recorded, "\(expected)")
        }
        #expect(AgentMessage.isUrgent(try message(of: ByteBuffer(annotatedHex: "00 00 00 02 22 00")).readableBytesView))
    }

    @Test("a server's recorded messages are read and written as before")
    func server() throws {
        let welcome = Welcome(serverID: 0x0102 << 112 | 0x0f, address: try Self.address("10.1.0.7"), port: 8884)
        let cases: [(String, ServerMessage)] = [
            ("00 00 00 07 0a 05 0a 03 01 ac 02", .ack([1, 300])),
            ("00 00 00 02 0a 00", .ack([])),
            (
                "00 00 00 0d 12 0b 0a 07 72 6f 6c 6c 69 6e 67 10 01",
                .goAway(reason: "rolling", supportedProtocolVersion: 1)
            ),
            (
                """
                00 00 00 1b 12 19 0a 15 74 68 65 20 74 6f 6b 65 6e 20 68 61 73 20 65 78 70 69 72 65 64 18 01
                """, .goAway(reason: "the token has expired", isRefusal: true)
            ),
            (
                """
                00 00 00 29 1a 27 0a 10 01 02 00 00 00 00 00 00 00 00 00 00 00 00 00 0f
                12 10 00 00 00 00 00 00 00 00 00 00 ff ff 0a 01 00 07 18 b4 45
                """, .welcome(welcome)
            ),
        ]
        for (hex, expected) in cases {
            let recorded = try ByteBuffer(annotatedHex: hex)
            #expect(try ServerMessage(decoding: message(of: recorded)) == expected)
            #expect(expected.frame() == recorded, "\(expected)")
        }
    }
}
