// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct MessageFieldsTests {
    /// A message for which protobuf-c would make an allocation every few bytes.
    struct Bomb: CustomTestStringConvertible {
        let testDescription: String
        /// The bytes before the repeated ones.
        var beginning: [UInt8] = []
        let repeated: [UInt8]
        /// The number of the message's field that holds all these bytes; nil if they are the message itself.
        var body: Int?
        /// The number of the field inside `body` that holds them; nil if `body` holds them directly.
        var inner: Int?
        /// Whether the bytes have too many fields as a server's message, too.
        var isAnyones = true
        /// The upper limit of the message's size, in bytes.
        var bytes = Frame.maximumLength

        func message() -> [UInt8] {
            let room = bytes - 12 - beginning.count
            let filling = beginning + [UInt8](repetitionsOf: repeated, count: room / repeated.count)
            let content = inner.map { Protobuf.field($0, filling) } ?? filling
            return body.map { Protobuf.field($0, content) } ?? content
        }
    }

    private static let bombs = [
        Bomb(testDescription: "unknown numbers", repeated: Protobuf.field(15, varint: 1)),
        Bomb(testDescription: "unknown fixed32", repeated: [0x7d, 0, 0, 0, 0]),
        Bomb(testDescription: "unknown fixed64", repeated: [0x79, 0, 0, 0, 0, 0, 0, 0, 0]),
        Bomb(testDescription: "unknown texts", repeated: Protobuf.field(15, [])),
        Bomb(testDescription: "unknown numbers in a batch", repeated: Protobuf.field(60, varint: 1), body: 2),
        Bomb(testDescription: "unknown texts in a Hello", repeated: Protobuf.field(15, [0x61]), body: 1),
        Bomb(testDescription: "empty batches", repeated: Protobuf.field(2, [])),
        Bomb(testDescription: "Hellos and batches", repeated: Protobuf.field(1, []) + Protobuf.field(2, [])),
        Bomb(
            testDescription: "small batches behind a large one",
            beginning: Protobuf.field(2, Protobuf.field(10, [UInt8](repeating: 1, count: 500_000))),
            repeated: Protobuf.field(2, Protobuf.field(10, [1]))),
        Bomb(testDescription: "a node's name again and again", repeated: Protobuf.field(2, [0x61]), body: 1),
        Bomb(testDescription: "columns of one transport", repeated: Protobuf.field(9, [6]), body: 2),
        Bomb(
            testDescription: "host addresses that are not packed", repeated: [0x0d, 10, 0, 0, 1], body: 3,
            isAnyones: false),
        Bomb(
            testDescription: "unknown texts in host addresses", repeated: Protobuf.field(9, []), body: 3,
            isAnyones: false),
        Bomb(
            testDescription: "a Hello's host addresses that are not packed", repeated: [0x0d, 10, 0, 0, 1], body: 1,
            inner: 6, isAnyones: false),
        Bomb(
            testDescription: "one host address again and again in a Hello", repeated: Protobuf.field(2, [1]), body: 1,
            inner: 6, isAnyones: false),
        Bomb(
            testDescription: "empty host addresses in a Hello", repeated: Protobuf.field(6, []), body: 1),
        Bomb(testDescription: "a column that is not packed", repeated: Protobuf.field(7, varint: 80), body: 2),
    ]

    @Test("a message with too many fields of any kind is rejected before it is decoded", arguments: bombs)
    func manyFields(_ bomb: Bomb) throws {
        let message = bomb.message()
        #expect(message.count > Frame.maximumLength - 32 && message.count <= Frame.maximumLength)
        let before = ThreadClock.now()
        #expect(throws: WireError.tooManyFields(limit: 256)) { try DecodedMessage(message) }
        print("MEASURED \(bomb.testDescription): \((ThreadClock.now() - before) / .milliseconds(1)) ms of CPU time")
        guard bomb.isAnyones else { return }
        #expect(throws: WireError.tooManyFields(limit: 256)) {
            try ServerMessage(decoding: ByteBuffer(bytes: message))
        }
    }

    @Test("the most expensive accepted messages are decoded")
    func dearest() throws {
        let flows = 60_000
        func column(_ number: Int) -> [UInt8] { Protobuf.field(number, [UInt8](repeating: 1, count: flows)) }
        let addresses = [3, 4].flatMap { Protobuf.field($0, [UInt8](repeating: 1, count: 4 * flows)) }
        let batch = addresses + [7, 8, 9, 10, 11, 12, 13].flatMap(column)
        for (name, message) in [
            ("a batch of as many flows as fit", Protobuf.field(2, batch)),
            ("one unknown text", Protobuf.field(90, [UInt8](repeating: 0x78, count: Frame.maximumLength - 8))),
        ] {
            #expect(message.count <= Frame.maximumLength)
            let buffer = ByteBuffer(bytes: message)
            let before = ThreadClock.now()
            if case .batch(let batch) = try AgentMessage(decoding: buffer) { #expect(batch.count == flows) }
            print("MEASURED \(name): \((ThreadClock.now() - before) / .milliseconds(1)) ms of CPU time")
        }
    }

    @Test("a hundred unknown fields of a later version are ignored")
    func laterVersions() throws {
        let added = (0..<100).flatMap { Protobuf.field(30 + $0, varint: 1) } + Protobuf.field(200, Array("later".utf8))
        let batch = Protobuf.field(2, Protobuf.field(1, varint: 7) + added)
        #expect(
            try DecodedMessage(batch + added) == .batch(sequence: 7, observedAtMilliseconds: 0, flows: []))
        let acknowledgement = Protobuf.field(1, Protobuf.field(1, Protobuf.packed([1, 300])) + added)
        #expect(try ServerMessage(decoding: ByteBuffer(bytes: acknowledgement + added)) == .ack([1, 300]))
    }

    @Test("a text that looks like many fields counts as one")
    func texts() throws {
        let text = [UInt8](repeating: 0x78, count: 100_000)
        #expect(try DecodedMessage(Protobuf.field(7, text)) == .unknown)
        #expect(try ServerMessage(decoding: ByteBuffer(bytes: Protobuf.field(6, text))) == .unknown)
        let batch = Protobuf.field(2, Protobuf.field(1, varint: 7) + Protobuf.field(60, text))
        #expect(try DecodedMessage(batch) == .batch(sequence: 7, observedAtMilliseconds: 0, flows: []))
    }

    @Test("fields of a Hello, of its host addresses and beside it are counted together")
    func together() throws {
        let id = Protobuf.field(3, [UInt8](repeating: 1, count: 16))
        func unknown(_ count: Int) -> [UInt8] { (0..<count).flatMap { _ in Protobuf.field(20, varint: 1) } }
        // AgentMessage.hello, Hello.agent_id and Hello.host_addresses are three more fields.
        func message(_ counts: (Int, Int, Int)) -> [UInt8] {
            Protobuf.field(1, id + Protobuf.field(6, unknown(counts.0)) + unknown(counts.1)) + unknown(counts.2)
        }
        guard case .hello(let hello) = try DecodedMessage(message((100, 100, 53))) else {
            Issue.record("the message is not a Hello")
            return
        }
        #expect(hello.hostAddresses == [])
        for counts in [(101, 100, 53), (100, 101, 53), (100, 100, 54)] {
            #expect(throws: WireError.tooManyFields(limit: 256)) { try DecodedMessage(message(counts)) }
        }
    }
}
