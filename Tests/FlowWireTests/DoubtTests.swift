// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct DoubtTests {
    private static let token = [UInt8](1...16)
    private static let number = token.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }

    @Test("the bytes of a confirmation equal the recorded ones") func confirmation() throws {
        let recorded = try ByteBuffer(
            annotatedHex: """
                00 00 00 19                                         # length: 25
                2a 17                                               # AgentMessage.confirmation
                   0a 10                                            #   token
                      01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10
                   12 03 07 ac 02                                   #   sequence: 7, 300
                """)
        let confirmation = HeldConfirmation(token: Self.number, sequences: [7, 300])
        #expect(confirmation.frame() == recorded)
        #expect(try DecodedMessage(message(of: recorded)) == .confirmation(confirmation))
    }

    @Test("the bytes of a question for the fates of blocks equal the recorded ones") func inDoubt() throws {
        let recorded = try ByteBuffer(
            annotatedHex: """
                00 00 00 24                                         # length: 36
                32 22                                               # AgentMessage.in_doubt
                   0a 10                                            #   token
                      01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10
                   12 03 b3 a2 01                                   #   day: 20,787
                   1a 02 dc 0b                                      #   age_ms: 1,500
                   22 01 03                                         #   batches: 3
                   2a 02 ac 02                                      #   reported_bytes: 300
                """)
        let doubt = Doubt(token: Self.number, day: 20_787, age: .milliseconds(1_500), batches: 3, reportedBytes: 300)
        #expect(Doubt.frame([doubt]) == recorded)
        #expect(try DecodedMessage(message(of: recorded)) == .inDoubt([doubt]))
    }

    @Test("doubts and confirmations are decoded as they were encoded", arguments: 0..<64) func roundTrip(
        _ seed: Int
    ) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let doubts = generator.doubts(seed * 4)
        #expect(try DecodedMessage(message(of: Doubt.frame(doubts))) == .inDoubt(doubts))
        let confirmation = HeldConfirmation(
            token: generator.next128(), sequences: (0..<seed * 10).map { _ in generator.next() })
        #expect(try DecodedMessage(message(of: confirmation.frame())) == .confirmation(confirmation))
    }

    @Test("malformed doubts are rejected") func malformed() {
        func decode(_ fields: [UInt8]...) throws(WireError) -> DecodedMessage {
            try DecodedMessage(Protobuf.field(6, fields.flatMap { $0 }))
        }
        let token = Protobuf.field(1, Self.token)
        func column(_ number: Int, _ value: UInt64) -> [UInt8] { Protobuf.field(number, Protobuf.packed([value])) }
        let rest = column(3, 0) + column(4, 0) + column(5, 0)
        #expect(throws: WireError.badToken(field: "InDoubt.token", length: 15)) {
            try decode(Protobuf.field(1, Array(Self.token.dropLast())), column(2, 1), rest)
        }
        #expect(throws: WireError.columnLength(column: "day", found: 0, expected: 1)) { try decode(token, rest) }
        #expect(throws: WireError.columnLength(column: "reported_bytes", found: 0, expected: 1)) {
            try decode(token, column(2, 1), column(3, 0), column(4, 0))
        }
        for day: UInt64 in [49_711, 65_536] {
            #expect(throws: WireError.valueOutOfRange(column: "day", value: day)) {
                try decode(token, column(2, day), rest)
            }
        }
        #expect(throws: WireError.valueOutOfRange(column: "age_ms", value: .max)) {
            try decode(token, column(2, 1), column(3, .max), column(4, 0), column(5, 0))
        }
        #expect(throws: WireError.tooManyDoubts(257)) {
            try decode(Protobuf.field(1, [UInt8](repeating: 0, count: 257 * 16)))
        }
    }
}

extension SeededGenerator {
    /// Returns a random number of 128 bits.
    mutating func next128() -> UInt128 { UInt128(next()) << 64 | UInt128(next()) }

    /// Returns random doubts.
    mutating func doubts(_ count: Int) -> [Doubt] {
        (0..<count).map { _ in
            Doubt(
                token: next128(), day: UInt16.random(in: 0...49_710, using: &self),
                age: .milliseconds(Int64.random(in: 0..<1 << 48, using: &self)),
                batches: UInt32.random(in: .min ... .max, using: &self), reportedBytes: next())
        }
    }
}
