// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import TestSupport
import Testing

@testable import Conntrack

/// An attribute built by a test.
private indirect enum Attribute {
    case leaf(UInt32, [UInt8])
    case nested(UInt32, [Attribute])

    var bytes: [UInt8] {
        switch self {
        case .leaf(let type, let payload): Self.bytes(UInt16(type), payload)
        case .nested(let type, let attributes):
            Self.bytes(UInt16(type) | UInt16(truncatingIfNeeded: NLA_F_NESTED), attributes.flatMap(\.bytes))
        }
    }

    private static func bytes(_ type: UInt16, _ payload: [UInt8]) -> [UInt8] {
        let header = [UInt16(4 + payload.count), type].flatMap { withUnsafeBytes(of: $0, Array.init) }
        return header + payload + [UInt8](repeating: 0, count: -payload.count & 3)
    }

    /// All variants of this attribute in which one leaf has a payload of another size.
    var resized: [Attribute] {
        switch self {
        case .leaf(let type, let payload):
            Set([0, payload.count - 1, payload.count + 1, 2 * payload.count]).sorted().map { size in
                .leaf(type, Array((payload + payload + [0]).prefix(size)))
            }
        case .nested(let type, let attributes):
            attributes.resized.map { .nested(type, $0) }
        }
    }
}

extension [Attribute] {
    fileprivate var resized: [[Attribute]] {
        indices.flatMap { index in
            self[index].resized.map { attribute in
                var changed = self
                changed[index] = attribute
                return changed
            }
        }
    }

    fileprivate var flow: Flow? { parse(attributes: flatMap(\.bytes)) }
}

/// Decodes an entry from attributes that are followed by unreadable memory.
private func parse(attributes: [UInt8]) -> Flow? {
    GuardedBytes().lend(attributes) { ConntrackEntry(NetlinkAttributes($0))?.flow }
}

private func tupleAttribute(_ type: ctattr_type, _ family: [Attribute], ports: (UInt8, UInt8)) -> Attribute {
    .nested(
        type.rawValue,
        [
            .nested(CTA_TUPLE_IP.rawValue, family),
            .nested(
                CTA_TUPLE_PROTO.rawValue,
                [
                    .leaf(CTA_PROTO_NUM.rawValue, [6]),
                    .leaf(CTA_PROTO_SRC_PORT.rawValue, [0, ports.0]),
                    .leaf(CTA_PROTO_DST_PORT.rawValue, [0, ports.1]),
                ]),
        ])
}

private func counters(_ type: ctattr_type, packets: UInt8, bytes: UInt8) -> Attribute {
    .nested(
        type.rawValue,
        [
            .leaf(CTA_COUNTERS_PACKETS.rawValue, [0, 0, 0, 0, 0, 0, 0, packets]),
            .leaf(CTA_COUNTERS_BYTES.rawValue, [0, 0, 0, 0, 0, 0, 0, bytes]),
        ])
}

/// 192.0.2.1:1 to 192.0.2.2:2, with five packets (50 bytes) in the original direction and six (60 bytes) in the reply
/// direction.
private let ipv4Entry: [Attribute] = {
    let (one, two): ([UInt8], [UInt8]) = ([192, 0, 2, 1], [192, 0, 2, 2])
    let source = CTA_IP_V4_SRC.rawValue
    let destination = CTA_IP_V4_DST.rawValue
    return [
        tupleAttribute(CTA_TUPLE_ORIG, [.leaf(source, one), .leaf(destination, two)], ports: (1, 2)),
        tupleAttribute(CTA_TUPLE_REPLY, [.leaf(source, two), .leaf(destination, one)], ports: (2, 1)),
        counters(CTA_COUNTERS_ORIG, packets: 5, bytes: 50),
        counters(CTA_COUNTERS_REPLY, packets: 6, bytes: 60),
    ]
}()

private let ipv6Entry: [Attribute] = {
    let (one, two) = ([UInt8](repeating: 0x21, count: 16), [UInt8](repeating: 0x22, count: 16))
    let source = CTA_IP_V6_SRC.rawValue
    let destination = CTA_IP_V6_DST.rawValue
    return [
        tupleAttribute(CTA_TUPLE_ORIG, [.leaf(source, one), .leaf(destination, two)], ports: (1, 2)),
        tupleAttribute(CTA_TUPLE_REPLY, [.leaf(source, two), .leaf(destination, one)], ports: (2, 1)),
    ]
}()

private let ipv4Flow = Flow(
    transport: .tcp, original: tuple("192.0.2.1", 1, "192.0.2.2", 2), reply: tuple("192.0.2.2", 2, "192.0.2.1", 1),
    originalCounters: FlowCounters(packets: 5, bytes: 50), replyCounters: FlowCounters(packets: 6, bytes: 60))

@Suite struct ConntrackEntryTests {
    @Test("a message captured from the kernel is decoded exactly", arguments: Capture.all)
    func aKernelsMessageIsReadExactly(capture: Capture) throws {
        let flows = try GuardedBytes().lend(capture.bytes) { bytes in
            var messages = NetlinkMessages(bytes)
            var flows: [Flow?] = []
            while let message = try messages.next() {
                flows.append(message.attributes.flatMap { ConntrackEntry($0)?.flow })
            }
            return flows
        }
        #expect(flows == [capture.flow])
    }

    @Test("a truncated datagram is rejected at every length", arguments: Capture.all)
    func aTruncatedDatagramIsRefusedAtEveryLength(capture: Capture) {
        for length in 1..<capture.bytes.count {
            #expect(throws: ConntrackError.self, "\(length) bytes") {
                try GuardedBytes().lend(Array(capture.bytes.prefix(length))) { bytes in
                    var messages = NetlinkMessages(bytes)
                    _ = try messages.next()
                }
            }
        }
    }

    /// A message cut between two attributes is complete but shorter; cut anywhere else, it is malformed.
    @Test("a truncated entry is decoded up to its last whole attribute, or not at all", arguments: Capture.all)
    func aTruncatedEntryIsReadAsWhatIsWholeOrNotAtAll(capture: Capture) {
        var nothing = capture.flow
        nothing.originalCounters = FlowCounters()
        nothing.replyCounters = FlowCounters()
        var noReply = nothing
        noReply.originalCounters = capture.flow.originalCounters
        let attributes = Array(capture.bytes.dropFirst(20))
        var whole: [Flow] = []
        for length in 0..<attributes.count {
            guard let flow = parse(attributes: Array(attributes.prefix(length))) else { continue }
            if whole.last != flow { whole.append(flow) }
        }
        #expect(whole == [nothing, noReply])
    }

    @Test("decoding mutated messages never reads outside their bounds")
    func mutatedMessagesAreNeverReadOutsideTheirBounds() {
        var generator = SeededGenerator(seed: 1)
        let memory = GuardedBytes()
        var outside = 0
        var read = 0
        for round in 0..<20_000 {
            var bytes = Capture.all[round % Capture.all.count].bytes
            if Bool.random(using: &generator) { bytes.removeLast(.random(in: 0..<bytes.count, using: &generator)) }
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                guard let index = bytes.indices.randomElement(using: &generator) else { break }
                // Many mutations are small numbers, because lengths are.
                bytes[index] =
                    Bool.random(using: &generator) ? .random(in: 0...255, using: &generator) : UInt8(round & 63)
            }
            if bytes.count >= 4, Bool.random(using: &generator) {
                withUnsafeBytes(of: UInt32(bytes.count)) { bytes.replaceSubrange(0..<4, with: $0) }
            }
            memory.lend(bytes) { bytes in
                var messages = NetlinkMessages(bytes)
                while let message = try? messages.next() {
                    _ = try? message.errorNumber()
                    guard let attributes = message.attributes else { continue }
                    outside += attributesOutside(bytes, attributes, depth: 0)
                    if ConntrackEntry(attributes) != nil { read += 1 }
                }
            }
        }
        #expect(outside == 0)
        // The mutations reach deep enough: many messages can still be decoded, and many cannot.
        #expect((1_000...19_000).contains(read), "\(read) were read")
    }

    /// Returns how many attributes of a tree lie outside the datagram.
    private func attributesOutside(
        _ bytes: UnsafeRawBufferPointer, _ attributes: NetlinkAttributes, depth: Int
    ) -> Int {
        var attributes = attributes
        var count = 0
        while let attribute = attributes.next() {
            guard let first = attribute.payload.baseAddress, let start = bytes.baseAddress else { continue }
            if first < start || first + attribute.payload.count > start + bytes.count { count += 1 }
            if depth < 3 { count += attributesOutside(bytes, attribute.nested, depth: depth + 1) }
        }
        return count
    }

    @Test("an entry with an attribute of the wrong size is rejected") func anAttributeOfAWrongSizeSpoilsTheEntry() {
        #expect(ipv4Entry.flow == ipv4Flow)
        #expect(ipv6Entry.flow?.original.source == IPAddress(bits: UInt128.max / 255 * 0x21))
        // Ten leaves in the IPv4 tuples, four counters, and ten leaves in the IPv6 tuples, with at least three sizes
        // each.
        let resized = ipv4Entry.resized + ipv6Entry.resized
        #expect(resized.count >= 24 * 3)
        for entry in resized { #expect(entry.flow == nil, "\(entry)") }
    }

    @Test("an entry with stray bytes inside a tuple is rejected", arguments: [CTA_TUPLE_IP, CTA_TUPLE_PROTO])
    func restsInsideATupleSpoilTheEntry(part: ctattr_tuple) {
        func entry(_ rest: [UInt8]) -> Flow? {
            var entry = ipv4Entry
            guard case .nested(let type, var parts) = entry[0] else { return nil }
            for (index, attribute) in parts.enumerated() {
                guard case .nested(part.rawValue, let leaves) = attribute else { continue }
                parts[index] = .leaf(part.rawValue, leaves.flatMap(\.bytes) + rest)
            }
            entry[0] = .nested(type, parts)
            return entry.flow
        }
        #expect(entry([]) == ipv4Flow)
        #expect(entry([4, 0]) == nil)
        #expect(entry([9, 0, 0x7f, 0, 1, 2, 3, 4]) == nil)
    }

    @Test("an entry without counters has counts of zero") func anEntryWithoutCountersReadsZero() {
        #expect(Array(ipv4Entry.prefix(2)).flow?.bytes == 0)
        #expect(Array(ipv4Entry.prefix(2)).flow?.original == ipv4Flow.original)
    }

    @Test("an entry without its original or reply tuple is rejected", arguments: 0..<2)
    func anEntryWithoutATupleIsNone(index: Int) {
        var entry = ipv4Entry
        entry.remove(at: index)
        #expect(entry.flow == nil)
    }

    @Test("unknown attributes and the order of attributes are ignored")
    func unknownAttributesAndTheirOrderDoNotMatter() {
        let unknown = Attribute.leaf(0x3ff, [1, 2, 3, 4, 5])
        #expect((ipv4Entry.reversed() + [unknown]).flow == ipv4Flow)
        #expect(([unknown] + ipv4Entry).flow == ipv4Flow)
    }
}
