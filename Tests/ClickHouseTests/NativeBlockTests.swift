// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import ClickHouse

/// Encodes a string of less than 128 bytes: its length in one byte, then its bytes.
private func string(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

/// Encodes a number in little-endian order.
private func number<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian, Array.init)
}

private func block(rows: Int, _ body: (inout NativeBlock) -> Void) -> [UInt8] {
    var block = NativeBlock(columns: 1, rows: rows)
    body(&block)
    return block.bytes
}

@Suite struct NativeBlockTests {
    @Test("a column of numbers is encoded in little-endian order") func numbersStandOneAfterAnother() {
        // 1 column, 2 rows; name; type; values.
        #expect(
            block(rows: 2) { $0.appendColumn("port", type: "UInt16", [0x0102, UInt16.max]) }
                == [1, 2] + string("port") + string("UInt16") + [0x02, 0x01, 0xff, 0xff])
        #expect(
            block(rows: 2) { $0.appendColumn("bytes", type: "UInt64", [0x0102_0304_0506_0708, UInt64.max]) }
                == [1, 2] + string("bytes") + string("UInt64") + [8, 7, 6, 5, 4, 3, 2, 1]
                + [UInt8](repeating: 0xff, count: 8))
        #expect(
            block(rows: 1) { $0.appendColumn("ip", type: "IPv4", [UInt32(0xc000_020a)]) }
                == [1, 1] + string("ip") + string("IPv4") + [0x0a, 0x02, 0x00, 0xc0])
        #expect(
            block(rows: 3) { $0.appendColumn("way", type: "Enum8('out' = 1, 'in' = 2)", [Int8(1), 2, -1]) }
                == [1, 3] + string("way") + string("Enum8('out' = 1, 'in' = 2)") + [1, 2, 0xff])
    }

    @Test("a LowCardinality column is encoded as its keys and then its indexes")
    func aLowCardinalityColumnHasItsKeysAndThenIndexes() {
        #expect(
            block(rows: 3) {
                $0.appendColumn("proto", keys: NativeKeys(["", "tcp", "ü"]), indexes: [UInt32(1), 0, 2])
            }
                == [1, 3] + string("proto") + string("LowCardinality(String)")
                + number(UInt64(1))  // version of the serialization
                + number(UInt64(0x600))  // own keys, replacing others; indexes are UInt8
                + number(UInt64(3)) + [0, 3, 0x74, 0x63, 0x70, 2, 0xc3, 0xbc]  // keys
                + number(UInt64(3)) + [1, 0, 2])  // rows
    }

    @Test(
        "indexes have the width that the number of keys requires",
        arguments: [(1, 0), (256, 0), (257, 1), (65_536, 1), (65_537, 2)])
    func indexesAreAsWideAsTheNumberOfKeysNeeds(keys: Int, width: Int) {
        let bytes = block(rows: 2) {
            $0.appendColumn("c", keys: NativeKeys((0..<keys).map { "\($0)" }), indexes: [UInt32(0), UInt32(keys - 1)])
        }
        let begin = [1, 2] + string("c") + string("LowCardinality(String)") + number(UInt64(1))
        let flags = number(UInt64(0x600 | width)) + number(UInt64(keys))
        let last: [UInt8] =
            switch width {
            case 0: [0, UInt8(keys - 1)]
            case 1: number(UInt16(0)) + number(UInt16(keys - 1))
            default: number(UInt32(0)) + number(UInt32(keys - 1))
            }
        let strings = (0..<keys).reduce(0) { $0 + 1 + "\($1)".utf8.count }
        #expect(bytes.starts(with: begin + flags + string("0")))
        #expect(bytes.suffix(8 + last.count) == (number(UInt64(2)) + last)[...])
        #expect(bytes.count == begin.count + flags.count + strings + 8 + last.count)
    }

    @Test("an indirect index encodes the same bytes as a direct one", arguments: [1, 2, 256, 257, 65_536, 65_537])
    func rowsMayReferToTheirKeysThroughSomethingElse(keys: Int) {
        let names = NativeKeys((0..<keys).map { "\($0)" })
        // Index 0 refers to the last key, index 1 to the first.
        let rows: [UInt32] = [0, 1, 1, 0]
        let direct = block(rows: 4) {
            $0.appendColumn("c", keys: names, indexes: rows.map { $0 == 0 ? UInt32(keys - 1) : 0 })
        }
        let indirect = block(rows: 4) {
            $0.appendColumn("c", keys: names, indexes: [UInt32(keys - 1), 0, 0], ofRows: rows)
        }
        #expect(direct == indirect)
    }

    @Test("a constant column has one key") func aConstantColumnHasOneKey() {
        #expect(
            block(rows: 3) { $0.appendColumn("c", constant: "a") }
                == block(rows: 3) { $0.appendColumn("c", keys: NativeKeys(["a"]), indexes: [UInt8(0), 0, 0]) })
        #expect(
            block(rows: 2) { $0.appendColumn("c", type: "UInt16", constant: UInt16(258)) }
                == [1, 2] + string("c") + string("UInt16") + [2, 1, 2, 1])
    }

    @Test("a block that reuses memory encodes the same bytes as a new one")
    func theMemoryOfAnEarlierBlockLeavesNoTrace() {
        var fresh = NativeBlock(columns: 1, rows: 1)
        fresh.appendColumn("c", constant: "new")
        var reused = NativeBlock(columns: 1, rows: 1, reusing: [UInt8](repeating: 0xff, count: 1000))
        reused.appendColumn("c", constant: "new")
        #expect(fresh.bytes == reused.bytes)
    }

    @Test("a column of empty maps has offsets only") func aColumnOfEmptyMapsHasOffsetsOnly() {
        #expect(
            block(rows: 2) { $0.appendColumn("flags", flags: [0, 0], names: NativeKeys(["nat"])) }
                == [1, 2] + string("flags") + string("Map(LowCardinality(String), Bool)") + number(UInt64(1))
                + number(UInt64(0)) + number(UInt64(0)))
    }

    @Test("a column of flags is encoded as maps with the flags' names") func aColumnOfMapsHoldsTheNamesOfItsBits() {
        let offsets = number(UInt64(2)) + number(UInt64(2)) + number(UInt64(3))
        let dictionary =
            number(UInt64(0x600)) + number(UInt64(2)) + string("nat") + string("lb") + number(UInt64(3)) + [0, 1, 1]
        #expect(
            block(rows: 3) { $0.appendColumn("flags", flags: [0b11, 0, 0b10], names: NativeKeys(["nat", "lb"])) }
                == [1, 3] + string("flags") + string("Map(LowCardinality(String), Bool)") + number(UInt64(1))
                + offsets + dictionary + [1, 1, 1])
    }

    @Test("a column of IPv6 addresses is encoded in big-endian order") func aColumnOfIPv6AddressesIsBigEndian() {
        let address = UInt128(0x2001_0db8) << 96 | 1
        #expect(
            block(rows: 1) { $0.appendColumn("a", ipv6: [address]) }
                == [1, 1] + string("a") + string("IPv6") + [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11)
                + [1])
        #expect(
            block(rows: 2) { $0.appendColumn("a", ipv6: []) }
                == [1, 2] + string("a") + string("IPv6") + [UInt8](repeating: 0, count: 32))
    }

    @Test(
        "lengths are encoded with seven bits per byte",
        arguments: [
            (1, [1]), (127, [0x7f]), (128, [0x80, 0x01]), (300, [0xac, 0x02]), (16_384, [0x80, 0x80, 0x01]),
        ] as [(Int, [UInt8])])
    func lengthsTakeSevenBitsAByte(length: Int, bytes: [UInt8]) {
        #expect(block(rows: length) { _ in } == [1] + bytes)
        let long = String(repeating: "x", count: length)
        let column = block(rows: 1) { $0.appendColumn("c", keys: NativeKeys([long]), indexes: [UInt8(0)]) }
        #expect(column.suffix(9 + length + bytes.count).starts(with: bytes + Array(long.utf8)))
    }

    @Test("a block without columns or rows, or with wrong indexes, is a programming error")
    func aBlockWithoutColumnsOrRowsIsAMistake() async {
        await #expect(processExitsWith: .failure) { _ = NativeBlock(columns: 0, rows: 1) }
        await #expect(processExitsWith: .failure) { _ = NativeBlock(columns: 1, rows: 0) }
        await #expect(processExitsWith: .failure) {
            var block = NativeBlock(columns: 1, rows: 2)
            block.appendColumn("c", type: "UInt8", [UInt8(1)])
        }
        await #expect(processExitsWith: .failure) {
            var block = NativeBlock(columns: 1, rows: 2)
            block.appendColumn("c", keys: NativeKeys(["a", "b"]), indexes: [0, 1], ofRows: [0, 2])
        }
    }

    /// ClickHouse reads the right strings, whatever the table's own string type.
    @Test("ClickHouse reads the right key for every index width", arguments: [1, 256, 257, 65_536, 65_537])
    func everyIndexLeadsToItsKey(keys: Int) async throws {
        let database = try await TestDatabase.make(withTable: false)
        try await database.query(
            """
            CREATE TABLE t (number UInt32, low LowCardinality(String), plain String, flags Map(LowCardinality(String), Bool))
            ENGINE = MergeTree ORDER BY number
            """)
        var block = NativeBlock(columns: 4, rows: keys + 1)
        // The last row repeats the first row's key.
        let indexes = (0..<UInt32(keys)).reversed() + [UInt32(keys - 1)]
        block.appendColumn("number", type: "UInt32", Array(indexes))
        for name in ["low", "plain"] {
            block.appendColumn(name, keys: NativeKeys((0..<keys).map { "k\($0)" }), indexes: Array(indexes))
        }
        block.appendColumn("flags", flags: [UInt64](repeating: 0, count: keys + 1), names: NativeKeys([]))
        let data = block.bytes
        try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            try client.insert("INSERT INTO t FORMAT Native", .init(data))
        }.get()
        let rows = try await database.rows(
            """
            SELECT count(), uniqExact(low), uniqExact(plain), sum(length(flags)),
                countIf(low = concat('k', toString(number)) AND plain = concat('k', toString(number))) FROM t
            """)
        #expect(rows == [["\(keys + 1)", "\(keys)", "\(keys)", "0", "\(keys + 1)"]])
    }
}
