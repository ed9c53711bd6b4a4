// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct ReceivedFlowBatchTests {
    /// A column of proto/flow.proto.
    enum Column: Int, CaseIterable {
        case ipv4_source = 3, ipv4_destination, ipv6_source, ipv6_destination, source_port, destination_port, transport
        case original_packets, original_bytes, reply_packets, reply_bytes, translated, translated_ipv4_source
        case translated_ipv4_destination, translated_ipv6_source, translated_ipv6_destination, translated_source_port
        case translated_destination_port, zoned, zone
    }

    typealias Columns = [Column: [UInt8]]

    /// Two flows, the first outside the default conntrack zone, the second translated.
    static let common: Columns = [
        .source_port: Protobuf.packed([1, 65_535]), .destination_port: Protobuf.packed([443, 80]),
        .transport: [6, 17], .original_packets: Protobuf.packed([1, .max]), .original_bytes: Protobuf.packed([60, 9]),
        .reply_packets: Protobuf.packed([0, 8]), .reply_bytes: Protobuf.packed([0, 7]),
        .translated: Protobuf.packed([1]), .translated_source_port: Protobuf.packed([8080]),
        .translated_destination_port: Protobuf.packed([65_535]), .zoned: Protobuf.packed([0]),
        .zone: Protobuf.packed([65_520]),
    ]
    static let ipv4 = common.merging([
        .ipv4_source: Protobuf.packed(fixed: [0x0a00_0001, 0x0a00_0002]),
        .ipv4_destination: Protobuf.packed(fixed: [0x0a00_0003, 0x0a00_0004]),
        .translated_ipv4_source: Protobuf.packed(fixed: [0x0a00_0005]),
        .translated_ipv4_destination: Protobuf.packed(fixed: [0x0a00_0002]),
    ]) { $1 }
    static let ipv6 = common.merging([
        .ipv6_source: [UInt8](repeating: 0x21, count: 32), .ipv6_destination: [UInt8](repeating: 0x22, count: 32),
        .translated_ipv6_source: [UInt8](repeating: 0x23, count: 16),
        .translated_ipv6_destination: [UInt8](repeating: 0x21, count: 16),
    ]) { $1 }

    // MARK: - Accepted batches

    @Test("a range of a batch has the flows at its positions", arguments: FlowBatchBuilder.Family.allCases)
    func aRangeHasItsOwnFlows(family: FlowBatchBuilder.Family) throws {
        var random = SeededGenerator(seed: 7)
        for _ in 0..<100 {
            let flows = (0..<Int.random(in: 1...50, using: &random)).map { _ in random.flow(family, translation: 3) }
            var builder = FlowBatchBuilder(family: family)
            for flow in flows { builder.append(flow) }
            var frame = builder.takeFrame(sequence: 1, observedAtMilliseconds: 0)
            frame.moveReaderIndex(forwardBy: 4)
            guard case .batch(let batch) = try AgentMessage(decoding: frame) else {
                Issue.record("the message is not a batch")
                return
            }
            let start = Int.random(in: 0..<flows.count, using: &random)
            let end = Int.random(in: start...flows.count, using: &random)
            var read: [Flow] = []
            batch.forEach(in: start..<end) { read.append($0) }
            #expect(read == Array(flows[start..<end]))
        }
    }

    @Test("the columns of a batch are decoded as flows") func columnsBecomeFlows() throws {
        let first = FlowTuple(
            source: IPAddress(v4: 0x0a00_0001), destination: IPAddress(v4: 0x0a00_0003), sourcePort: 1,
            destinationPort: 443)
        let flows = [
            Flow(
                transport: .tcp, original: first, reply: first.mirrored,
                originalCounters: FlowCounters(packets: 1, bytes: 60), replyCounters: FlowCounters(), zone: 65_520),
            Flow(
                transport: .udp,
                original: FlowTuple(
                    source: IPAddress(v4: 0x0a00_0002), destination: IPAddress(v4: 0x0a00_0004), sourcePort: 65_535,
                    destinationPort: 80),
                reply: FlowTuple(
                    source: IPAddress(v4: 0x0a00_0005), destination: IPAddress(v4: 0x0a00_0002), sourcePort: 8080,
                    destinationPort: 65_535),
                originalCounters: FlowCounters(packets: .max, bytes: 9),
                replyCounters: FlowCounters(packets: 8, bytes: 7)),
        ]
        let expected = DecodedMessage.batch(sequence: 0, observedAtMilliseconds: 0, flows: flows)
        #expect(try decode(Self.ipv4) == expected)
    }

    @Test("the fixtures of both address families are well-formed")
    func bothFamiliesOfTheTestsBatchesAreWellFormed() throws {
        for columns in [Self.ipv4, Self.ipv6] {
            guard case .batch(_, _, let flows) = try decode(columns) else {
                Issue.record("the message is not a batch")
                continue
            }
            #expect(flows.map(\.isTranslated) == [false, true])
        }
    }

    @Test("columns that are not packed, or split, are decoded")
    func columnsThatAreNotPackedOrComeInPiecesAreRead() throws {
        var pieces = Self.ipv4
        pieces[.source_port] = nil
        let ports =
            Protobuf.field(Column.source_port.rawValue, Protobuf.packed([1]))
            + Protobuf.field(Column.source_port.rawValue, varint: 65_535)
        #expect(try DecodedMessage(Protobuf.field(2, ports + bytes(pieces))) == decode(Self.ipv4))
    }

    @Test("unknown fields of a batch are ignored") func unknownFieldsAreIgnored() throws {
        let later = Protobuf.field(40, [1, 2]) + bytes(Self.ipv6) + Protobuf.field(1_000, varint: 3)
        #expect(
            try DecodedMessage(Protobuf.field(50, varint: 1) + Protobuf.field(2, later)) == decode(Self.ipv6))
    }

    @Test("a batch without flows is decoded") func aBatchWithoutFlowsIsRead() throws {
        #expect(try decode([:]) == .batch(sequence: 0, observedAtMilliseconds: 0, flows: []))
    }

    // MARK: - Rejected batches

    @Test("a batch with a column of the wrong length is rejected", arguments: Column.allCases)
    func aColumnOfAnotherLengthIsRefused(_ column: Column) throws {
        for columns in [Self.ipv4, Self.ipv6] {
            let old = columns[column]
            let added: [UInt8] = "\(column)".contains("ipv4") ? [0, 0, 0, 0] : [0]
            for new in [(old ?? []) + added, old.map { Array($0.dropLast(added.count)) }, old.map { _ in [] }] {
                guard let new else { continue }
                var malformed = columns
                malformed[column] = new
                let error = try #require(throws: WireError.self) { try decode(malformed) }
                // The lengths of these columns determine the expected lengths of the others.
                guard ![.transport, .translated, .zoned].contains(column) else { continue }
                switch error {
                case .columnLength(let name, let found, let expected):
                    #expect(found != expected)
                    // Without `ipv6_source` the batch counts as IPv4, and `ipv4_source` is missing.
                    let other: Column? = column == .ipv6_source && new.isEmpty ? .ipv4_source : nil
                    #expect(name == "\(other ?? column)")
                case .mixedFamilies:
                    // The added bytes start a column of the other family.
                    #expect(old == nil && (column == .ipv4_source || column == .ipv6_source))
                default:
                    // Without its last byte, a varint does not end: the message is malformed.
                    #expect(error == .notAMessage(message(malformed).count))
                }
            }
        }
    }

    @Test("the error names the column, its length and the expected length") func lengthsAreReportedAsTheyAre() {
        expectError(.columnLength(column: "source_port", found: 3, expected: 2), ipv4: [.source_port: [1, 2, 3]])
        expectError(.columnLength(column: "reply_bytes", found: 1, expected: 2), ipv4: [.reply_bytes: [1]])
        expectError(.columnLength(column: "ipv4_source", found: 2, expected: 3), ipv4: [.transport: [6, 6, 6]])
        expectError(.columnLength(column: "ipv4_source", found: 2, expected: 0), ipv4: [.transport: []])
        expectError(.columnLength(column: "translated_ipv4_source", found: 1, expected: 0), ipv4: [.translated: []])
        let odd = [UInt8](repeating: 0, count: 31)
        expectError(.columnLength(column: "ipv6_source", found: 31, expected: 32), ipv6: [.ipv6_source: odd])
        expectError(
            .columnLength(column: "translated_ipv6_destination", found: 31, expected: 16),
            ipv6: [.translated_ipv6_destination: odd])
    }

    @Test("a batch with IPv4 and IPv6 columns is rejected") func aBatchOfBothFamiliesIsRefused() {
        expectError(.mixedFamilies, ipv4: [.ipv6_source: [UInt8](repeating: 0, count: 32)])
        expectError(.mixedFamilies, ipv6: [.ipv4_source: Protobuf.packed(fixed: [1, 2])])
    }

    @Test(
        "a port or a zone above 65535 is rejected",
        arguments: [
            Column.source_port, .destination_port, .translated_source_port, .translated_destination_port, .zone,
        ])
    func aPortAbove65535IsRefused(_ column: Column) {
        let count = [.source_port, .destination_port].contains(column) ? 2 : 1
        for port: UInt64 in [65_536, UInt64(UInt32.max)] {
            let ports = Protobuf.packed([UInt64](repeating: 1, count: count - 1) + [port])
            let error = #expect(throws: WireError.self) { try decode(Self.ipv4.merging([column: ports]) { $1 }) }
            guard case .valueOutOfRange("\(column)", 65_536...) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
    }

    @Test("indexes of translated flows must be valid and ascending") func translatedFlowsMustExistAndAscend() {
        func twoTranslated(_ indices: [UInt64]) -> Columns {
            [
                .translated: Protobuf.packed(indices), .translated_ipv4_source: Protobuf.packed(fixed: [1, 2]),
                .translated_ipv4_destination: Protobuf.packed(fixed: [1, 2]), .translated_source_port: [1, 2],
                .translated_destination_port: [1, 2],
            ]
        }
        expectError(.badTranslatedIndex(0), ipv4: [.translated: [2]])
        expectError(.badTranslatedIndex(0), ipv6: [.translated: [2]])
        expectError(.badTranslatedIndex(0), ipv4: [.translated: Protobuf.packed([UInt64(UInt32.max)])])
        expectError(.badTranslatedIndex(1), ipv4: twoTranslated([0, 2]))
        expectError(.badTranslatedIndex(1), ipv4: twoTranslated([0, 0]))
        expectError(.badTranslatedIndex(1), ipv4: twoTranslated([1, 0]))
        expectError(.badTranslatedIndex(0), ipv4: twoTranslated([7, 1]))
    }

    @Test("indexes of flows with a zone must be valid and ascending") func zonedFlowsMustExistAndAscend() {
        func twoZoned(_ indices: [UInt64]) -> Columns { [.zoned: Protobuf.packed(indices), .zone: [1, 2]] }
        expectError(.badZonedIndex(0), ipv4: [.zoned: [2]])
        expectError(.badZonedIndex(0), ipv6: [.zoned: Protobuf.packed([UInt64(UInt32.max)])])
        expectError(.badZonedIndex(1), ipv4: twoZoned([0, 2]))
        expectError(.badZonedIndex(1), ipv4: twoZoned([0, 0]))
        expectError(.badZonedIndex(1), ipv6: twoZoned([1, 0]))
    }

    // MARK: -

    private func expectError(
        _ expected: WireError, ipv4 changes: Columns, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(throws: expected, sourceLocation: sourceLocation) { try decode(Self.ipv4.merging(changes) { $1 }) }
    }

    private func expectError(
        _ expected: WireError, ipv6 changes: Columns, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(throws: expected, sourceLocation: sourceLocation) { try decode(Self.ipv6.merging(changes) { $1 }) }
    }

    private func decode(_ columns: Columns) throws(WireError) -> DecodedMessage {
        try DecodedMessage(message(columns))
    }

    private func message(_ columns: Columns) -> [UInt8] { Protobuf.field(2, bytes(columns)) }

    private func bytes(_ columns: Columns) -> [UInt8] {
        Column.allCases.flatMap { column in columns[column].map { Protobuf.field(column.rawValue, $0) } ?? [] }
    }
}
