// SPDX-License-Identifier: Apache-2.0

import FlowModel
import NIOCore
import TestSupport
import Testing

@testable import FlowWire

/// The time at which a message is sent, which stands beside its body.
@Suite struct SendTimeTests {
    /// Returns the bytes that send a frame with a time, as one buffer.
    private static func stamped(_ frame: ByteBuffer, _ time: SendTime) -> ByteBuffer {
        time.stamp(frame).reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    private static func decode(_ message: ByteBuffer) throws -> (DecodedMessage, SendTime?) {
        var time: SendTime?
        _ = try AgentMessage(decoding: message, sentAt: &time)
        return (try DecodedMessage(message), time)
    }

    @Test("the bytes of messages with a time equal the recorded ones")
    func recorded() throws {
        let heartbeat = try ByteBuffer(
            annotatedHex: """
                00 00 00 07                         # length: 7
                78 80 d0 95 ff bc 31                # sent_at_ms: 1700000000000
                """)
        let set = try ByteBuffer(
            annotatedHex: """
                00 00 00 0c                         # length: 12
                78 80 d0 95 ff bc 31                # sent_at_ms: 1700000000000
                80 01 9f fe 0a                      # clock_set_ms: -90000
                """)
        let time: Int64 = 1_700_000_000_000
        let plain = try #require(SendTime(milliseconds: time))
        let stepped = try #require(SendTime(milliseconds: time, clockSetMilliseconds: -90_000))
        #expect(Self.stamped(AgentMessage.signOfLife, plain) == heartbeat)
        #expect(Self.stamped(AgentMessage.signOfLife, stepped) == set)
        for (bytes, time) in [(heartbeat, plain), (set, stepped)] {
            let decoded = try Self.decode(message(of: bytes))
            #expect(decoded.0 == .unknown && decoded.1 == time)
        }
        #expect(stepped.steadyMilliseconds == time + 90_000)
    }

    @Test("every message is decoded as without a time, and with the time that it was given")
    func roundTrip() throws {
        var generator = SeededGenerator(seed: 15)
        for round in 0..<400 {
            let family: FlowBatchBuilder.Family = round % 2 == 0 ? .ipv4 : .ipv6
            let flows = (0..<(round * 2)).map { _ in generator.flow(family, translation: 3) }
            let frames = [
                FlowBatchBuilder.frame(family, flows, sequence: UInt64(round)), HelloTests.hello.frame(),
                AgentMessage.signOfLife, AgentMessage.frame(hostAddresses: generator.hostAddresses(round % 9)),
            ]
            let set = [0, Int64.random(in: -(1 << 45)...(1 << 45), using: &generator)].randomElement(using: &generator)
            let time = try #require(
                SendTime(
                    milliseconds: .random(in: 1...SendTime.maximumMilliseconds, using: &generator),
                    clockSetMilliseconds: set ?? 0))
            for frame in frames {
                let stamped = Self.stamped(frame, time)
                #expect(stamped.readableBytes <= frame.readableBytes + 19)
                let decoded = try Self.decode(message(of: stamped))
                #expect(try decoded.0 == DecodedMessage(message(of: frame)))
                #expect(decoded.1 == time)
                #expect(try Self.decode(message(of: frame)).1 == nil)
            }
        }
    }

    @Test("a long frame is not copied, and one that would become too long has no time")
    func sizes() throws {
        let time = try #require(SendTime(milliseconds: 1_700_000_000_000))
        let long = FlowBatchBuilder.frame(.ipv4, (1...400).map { _ in Self.flow })
        #expect(time.stamp(long).count == 2)
        #expect(time.stamp(FlowBatchBuilder.frame(.ipv4, [Self.flow])).count == 1)
        let hello = HelloTests.hello.frame()
        let length = hello.readableBytes - Frame.headerLength
        #expect(time.stamp(hello, maximumLength: length + 6) == [hello])
        #expect(time.stamp(hello, maximumLength: length + 7) != [hello])
    }

    private static let flow: Flow = {
        let tuple = FlowTuple(
            source: IPAddress(v4: 1), destination: IPAddress(v4: 2), sourcePort: 3, destinationPort: 4)
        return Flow(
            transport: .tcp, original: tuple, reply: tuple.mirrored,
            originalCounters: FlowCounters(packets: 1, bytes: 1), replyCounters: FlowCounters())
    }()

    @Test("of a batch of 20 flows of the fewest bytes, the time takes less than 3 % of the bytes")
    func share() throws {
        let time = try #require(SendTime(milliseconds: 1_900_000_000_000))
        let frame = FlowBatchBuilder.frame(.ipv4, (1...20).map { _ in Self.flow })
        #expect(Self.stamped(frame, time).readableBytes - frame.readableBytes == 7)
        #expect(Double(frame.readableBytes) * 0.03 > 7)
    }

    @Test("times that no clock shows are read as none", arguments: [0, 1 << 53, .max] as [UInt64])
    func incredible(_ milliseconds: UInt64) throws {
        #expect(try Self.decode(ByteBuffer(bytes: Protobuf.field(15, varint: milliseconds))).1 == nil)
        // The greatest and the least sint64.
        for set: UInt64 in [UInt64.max, UInt64.max - 1] {
            let bytes = Protobuf.field(15, varint: 5) + Protobuf.field(16, varint: set)
            #expect(try Self.decode(ByteBuffer(bytes: bytes)).1 == nil)
        }
    }

    @Test("a message without a body is a heartbeat, with a time and without one; no other message is")
    func heartbeats() throws {
        let (at, set) = (Protobuf.field(15, varint: 1_700_000_000_000), Protobuf.field(16, varint: .max))
        let longest: [UInt8] = Protobuf.field(15, varint: .max) + set
        for message: [UInt8] in [[], at, at + set, set + at, longest] {
            #expect(AgentMessage.isHeartbeat(ByteBuffer(bytes: message)))
            #expect(try DecodedMessage(message) == .unknown)
        }
        let others: [[UInt8]] = [
            Protobuf.field(4, []), at + Protobuf.field(4, []), Protobuf.field(14, varint: 5), at + at + at + at, [0x78],
            [0x78, 0x80], [0x80], [0x80, 0x01], [0x80, 0x02, 0x01], Protobuf.field(2, Protobuf.field(1, varint: 1)),
        ]
        for message in others { #expect(!AgentMessage.isHeartbeat(ByteBuffer(bytes: message)), "\(message)") }
        #expect(!AgentMessage.isHeartbeat(try message(of: AgentMessage.leavingFrame)))
    }
}
