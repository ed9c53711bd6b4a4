// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct AgentMessageTests {
    @Test(
        "an agent message of an unknown type is decoded as unknown",
        arguments: [[], Protobuf.field(7, [1, 2]), Protobuf.field(1_000, varint: 5)])
    func messagesOfALaterProtocolAreUnknown(_ bytes: [UInt8]) throws {
        #expect(try DecodedMessage(bytes) == .unknown)
    }

    @Test("the bytes of the message that an agent leaves equal the recorded ones, and later fields are ignored")
    func leaving() throws {
        #expect(AgentMessage.leavingFrame == ByteBuffer(bytes: [0, 0, 0, 2, 0x22, 0]))
        #expect(try DecodedMessage(message(of: AgentMessage.leavingFrame)) == .leaving)
        #expect(try DecodedMessage(Protobuf.field(4, Protobuf.field(1, varint: 5))) == .leaving)
    }

    @Test(
        "bytes that are not an agent message are rejected",
        arguments: [
            [0xff], [0x00], [0x0a], [0x12, 0x05, 0x08], [0x12, 0x01, 0x08], [0x0a, 0x80, 0x80, 0x80, 0x80, 0x80],
            Protobuf.field(2, [0x1a, 0x03, 0, 0, 0]), Protobuf.field(3, [0x0a, 0x03, 0, 0, 0]),
            Array("GET / HTTP/1.1".utf8),
        ])
    func whatIsNoMessageIsRefused(_ bytes: [UInt8]) {
        #expect(throws: WireError.notAMessage(bytes.count)) { try DecodedMessage(bytes) }
    }

    @Test("of several bodies in a message, the last one counts") func theLastBodyCounts() throws {
        let batch = Protobuf.field(2, Protobuf.field(1, varint: 7))
        let message = try message(of: HelloTests.hello.frame())
        #expect(try DecodedMessage(batch + message.readableBytesView) == .hello(HelloTests.hello))
        #expect(
            try DecodedMessage(message.readableBytesView + batch)
                == .batch(sequence: 7, observedAtMilliseconds: 0, flows: []))
    }

    @Test("mutated frames are decoded or rejected without a crash", arguments: 0..<8)
    func mutatedFramesAreReadOrRefused(_ seed: Int) async throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let originals =
            (0..<40).map { round in
                let family: FlowBatchBuilder.Family = round % 2 == 0 ? .ipv4 : .ipv6
                let flows = (0..<(round / 4)).map { _ in generator.flow(family, translation: 3) }
                return FlowBatchBuilder.frame(family, flows, sequence: UInt64(round))
            }
            + (0..<8).flatMap { round in
                let addresses = generator.hostAddresses(round)
                var hello = HelloTests.hello
                hello.hostAddresses = addresses
                hello.confirmsHeld = true
                return [
                    hello.frame(), AgentMessage.frame(hostAddresses: addresses),
                    HeldConfirmation(token: generator.next128(), sequences: (0..<UInt64(round)).map { $0 }).frame(),
                    Doubt.frame(generator.doubts(round)),
                ]
            }
        var (read, refused) = (0, 0)
        for round in 0..<6_000 {
            if round.isMultiple(of: 500) { await Task.yield() }
            var bytes = Array(originals[round % originals.count].readableBytesView)
            let isLengthKept = generator.oneIn(16)
            if !isLengthKept { bytes.removeFirst(4) }
            for _ in 0..<Int.random(in: 1...4, using: &generator) { generator.mutate(&bytes) }
            do {
                if isLengthKept {
                    for message in try messages(of: ByteBuffer(bytes: bytes)) { _ = try DecodedMessage(message) }
                } else {
                    _ = try DecodedMessage(bytes)
                }
                read += 1
            } catch is WireError {
                refused += 1
            }
        }
        // Both outcomes occur often: the mutations reach beyond the first check.
        #expect(read > 500)
        #expect(refused > 500)
    }
}

extension SeededGenerator {
    /// Changes bytes as a faulty network or a hostile peer might.
    fileprivate mutating func mutate(_ bytes: inout [UInt8]) {
        let position = Int.random(in: 0...bytes.count, using: &self)
        let length = Swift.min(Int.random(in: 1...8, using: &self), bytes.count - position)
        let anything: [UInt8] = [0, 1, 0x7f, 0x80, 0xff, .random(in: .min ... .max, using: &self)]
        let byte = anything.randomElement(using: &self) ?? 0
        switch Int.random(in: 0..<8, using: &self) {
        case 0: bytes.removeSubrange(position...)
        case 1: bytes.removeSubrange(position..<position + length)
        case 2: bytes.insert(contentsOf: bytes[position..<position + length], at: position)
        case 3: bytes.insert(byte, at: position)
        case 4 where position < bytes.count: bytes[position] = byte
        default: if position < bytes.count { bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &self) }
        }
    }
}
