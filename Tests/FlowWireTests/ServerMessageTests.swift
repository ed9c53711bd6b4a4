// SPDX-License-Identifier: Apache-2.0

import FlowModel
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
            (
                .welcome(Welcome(serverID: 0x0102 << 112 | 0x0f, address: IPAddress(v4: 0x0a01_0007), port: 8884)),
                """
                00 00 00 29                            # length: 41
                1a 27                                  # ServerMessage.welcome
                   0a 10                               #   server_id
                      01 02 00 00 00 00 00 00 00 00 00 00 00 00 00 0f
                   12 10                               #   address: ::ffff:10.1.0.7
                      00 00 00 00 00 00 00 00 00 00 ff ff 0a 01 00 07
                   18 b4 45                            #   port: 8884
                """
            ),
            (
                .ack([1], grantedBytes: 300),
                """
                00 00 00 08                            # length: 8
                0a 06                                  # ServerMessage.ack
                   0a 01 01                            #   sequence: 1
                   10 ac 02                            #   granted_bytes: 300
                """
            ),
            (
                .held(Held(token: 0x0102 << 112 | 0x0f, day: 20_787, sequences: [7, 300])),
                """
                00 00 00 1d                            # length: 29
                22 1b                                  # ServerMessage.held
                   0a 10                               #   token
                      01 02 00 00 00 00 00 00 00 00 00 00 00 00 00 0f
                   10 b3 a2 01                         #   day: 20,787
                   1a 03 07 ac 02                      #   sequence: 7, 300
                """
            ),
            (
                .settlement([SettledDoubt(token: 0x0102 << 112 | 0x0f, fate: .notStored)]),
                """
                00 00 00 17                            # length: 23
                2a 15                                  # ServerMessage.settlement
                   0a 10                               #   token
                      01 02 00 00 00 00 00 00 00 00 00 00 00 00 00 0f
                   12 01 02                            #   fate: not stored
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
            .welcome(Welcome(serverID: .max, address: IPAddress(bits: .max), port: .max)),
            .welcome(Welcome(serverID: 0, address: IPAddress(bits: 0), port: 0)),
            .welcome(
                Welcome(
                    serverID: 5, address: IPAddress(v4: 7), port: 1, settlesDoubts: true, grantedBytes: .max)),
            .ack([], grantedBytes: .max), .held(Held(token: .max, day: 49_710, sequences: [])),
            .settlement([]), .settlement(SettledDoubt.Fate.allCases.map { SettledDoubt(token: 9, fate: $0) }),
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
        arguments: [[], Protobuf.field(6, [1, 2]), Protobuf.field(1_000, varint: 5)])
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

    @Test("a malformed token, day or fate is rejected, and an unknown fate is uncertain")
    func badTokens() throws {
        let token = [UInt8](repeating: 1, count: 16)
        #expect(throws: WireError.badToken(field: "Held.token", length: 15)) {
            try decode(Protobuf.field(4, Protobuf.field(1, Array(token.dropLast()))))
        }
        #expect(throws: WireError.badToken(field: "Held.token", length: 32)) {
            try decode(Protobuf.field(4, Protobuf.field(1, token + token)))
        }
        #expect(throws: WireError.valueOutOfRange(column: "day", value: 65_536)) {
            try decode(Protobuf.field(4, Protobuf.field(1, token) + Protobuf.field(2, varint: 65_536)))
        }
        #expect(throws: WireError.badToken(field: "Settlement.token", length: 17)) {
            try decode(Protobuf.field(5, Protobuf.field(1, token + [1])))
        }
        #expect(throws: WireError.columnLength(column: "fate", found: 2, expected: 1)) {
            try decode(Protobuf.field(5, Protobuf.field(1, token) + Protobuf.field(2, [1, 1])))
        }
        let number = token.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        #expect(
            try decode(Protobuf.field(5, Protobuf.field(1, token) + Protobuf.field(2, [77])))
                == .settlement([SettledDoubt(token: number, fate: .uncertain)]))
    }

    @Test("a malformed answer to Hello is rejected")
    func badWelcome() {
        let number = [UInt8](repeating: 1, count: 16)
        #expect(throws: WireError.badWelcome(field: "server_id", length: 15)) {
            try decode(Protobuf.field(3, Protobuf.field(1, Array(number.dropLast())) + Protobuf.field(2, number)))
        }
        #expect(throws: WireError.badWelcome(field: "address", length: 0)) {
            try decode(Protobuf.field(3, Protobuf.field(1, number)))
        }
        #expect(throws: WireError.valueOutOfRange(column: "port", value: 65_536)) {
            try decode(
                Protobuf.field(
                    3, Protobuf.field(1, number) + Protobuf.field(2, number) + Protobuf.field(3, varint: 65_536)))
        }
    }

    private func decode(_ bytes: [UInt8]) throws -> ServerMessage {
        try ServerMessage(decoding: ByteBuffer(bytes: bytes))
    }
}
