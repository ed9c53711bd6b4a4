// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import Testing

@Suite struct ServerMessageTests {
    @Test(
        "the bytes of a server message equal the recorded ones",
        arguments: [
            (
                ServerMessage.ack([1, 300, .max]),
                """
                00 00 00 11                            # length: 17
                0a 0f                                  # ServerMessage.ack
                   0a 0d                               #   sequence, packed
                      01                               #     1
                      ac 02                            #     300
                      ff ff ff ff ff ff ff ff ff 01    #     2^64 - 1
                """
            ),
            (
                .goAway(reason: "rolling", supportedProtocolVersion: 1),
                """
                00 00 00 0d                            # length: 13
                12 0b                                  # ServerMessage.go_away
                   0a 07 72 6f 6c 6c 69 6e 67          #   reason: rolling
                   10 01                               #   supported_protocol_version: 1
                """
            ),
        ])
    func itsBytesAreTheRecordedOnes(_ message: ServerMessage, _ hex: String) throws {
        let recorded = try ByteBuffer(annotatedHex: hex)
        #expect(message.frame() == recorded)
        #expect(try ServerMessage(decoding: FlowWireTests.message(of: recorded)) == message)
    }

    @Test(
        "a server message is decoded as it was encoded",
        arguments: [
            ServerMessage.ack([]), .ack([0]), .ack([7, 7, 3]), .ack(Array(1...100_000)), .unknown,
            .goAway(reason: "", supportedProtocolVersion: 0),
            .goAway(reason: "wartung ☕️", supportedProtocolVersion: .max),
            .goAway(reason: "another node's token", isRefusal: true),
        ])
    func itComesBackFromItsFrame(_ message: ServerMessage) throws {
        #expect(try ServerMessage(decoding: FlowWireTests.message(of: message.frame())) == message)
    }

    @Test("sequence numbers that are not packed are decoded") func sequencesThatAreNotPackedAreRead() throws {
        let ack = [1, 2, 300].flatMap { Protobuf.field(1, varint: $0) }
        #expect(try decode(Protobuf.field(1, ack)) == .ack([1, 2, 300]))
    }

    @Test(
        "a server message of an unknown type is decoded as unknown",
        arguments: [[], Protobuf.field(3, [1, 2]), Protobuf.field(1_000, varint: 5)])
    func messagesOfALaterProtocolAreUnknown(_ bytes: [UInt8]) throws {
        #expect(try decode(bytes) == .unknown)
    }

    @Test("unknown fields of a server message are ignored") func unknownFieldsAreIgnored() throws {
        let ack = Protobuf.field(9, [1]) + Protobuf.field(1, Protobuf.packed([4])) + Protobuf.field(8, varint: 1)
        #expect(try decode(Protobuf.field(7, varint: 1) + Protobuf.field(1, ack)) == .ack([4]))
    }

    @Test(
        "bytes that are not a server message are rejected",
        arguments: [[0xff], [0x0a, 0x05, 0x0a], [0x0a], [0x0a, 0x02, 0x0a, 0x05], Array("HTTP/1.1 400".utf8)])
    func whatIsNoMessageIsRefused(_ bytes: [UInt8]) {
        #expect(throws: WireError.notAMessage(bytes.count)) { try decode(bytes) }
    }

    private func decode(_ bytes: [UInt8]) throws -> ServerMessage {
        try ServerMessage(decoding: ByteBuffer(bytes: bytes))
    }
}
