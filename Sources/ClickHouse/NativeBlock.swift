// SPDX-License-Identifier: Apache-2.0

/// Writes one block of ClickHouse's Native format, column by column
/// (https://clickhouse.com/docs/interfaces/formats/Native; src/Formats/NativeWriter.cpp, without the BlockInfo and the
/// custom-serialization bytes that only the TCP protocol has).
struct NativeBlock {
    /// The block's bytes.
    private(set) var bytes: [UInt8] = []
    private let rows: Int

    /// Begins a block. A block of no columns or no rows would be taken for the end of the data, what follows it lost in
    /// silence: there must be at least one of each.
    init(columns: Int, rows: Int) {
        precondition(columns > 0 && rows > 0, "an empty block ends the data")
        self.rows = rows
        // A row of this project's table takes about 75 bytes.
        bytes.reserveCapacity(4096 + rows * 75)
        appendVarUInt(UInt64(columns))
        appendVarUInt(UInt64(rows))
    }

    /// A column whose values stand one after another in little-endian order: numbers, dates, enums, IPv4.
    mutating func appendColumn<Number: FixedWidthInteger & BitwiseCopyable>(
        _ name: String, type: String, _ values: [Number]
    ) {
        beginColumn(name, type: type, count: values.count)
        #if _endian(little)
        values.withUnsafeBytes { bytes.append(contentsOf: $0) }
        #else
        for value in values { appendInteger(value) }
        #endif
    }

    /// A `LowCardinality(String)` column: distinct strings, and for each row the index of its string
    /// (src/DataTypes/Serializations/SerializationLowCardinality.cpp). ClickHouse takes it for a `String` column too.
    mutating func appendColumn(_ name: String, keys: [String], indexes: [UInt32]) {
        beginColumn(name, type: "LowCardinality(String)", count: indexes.count)
        // Version of the serialization: keys travel with every block.
        appendInteger(UInt64(1))
        appendDictionary(keys, indexes)
    }

    /// An `IPv6` column of addresses' bits; none at all stands for `::` in every row.
    mutating func appendColumn(_ name: String, ipv6 addresses: [UInt128]) {
        beginColumn(name, type: "IPv6", count: addresses.isEmpty ? rows : addresses.count)
        if addresses.isEmpty {
            bytes.append(contentsOf: repeatElement(0, count: rows * MemoryLayout<UInt128>.size))
        }
        for address in addresses { withUnsafeBytes(of: address.bigEndian) { bytes.append(contentsOf: $0) } }
    }

    /// A `Map(LowCardinality(String), Bool)` column that holds `name: true` for each bit of a row.
    ///
    /// - Parameters:
    ///   - flags: Bits for each row, the lowest for the first name.
    ///   - names: The names of the bits, as many as are ever set.
    mutating func appendColumn(_ name: String, flags: [UInt64], names: [String]) {
        beginColumn(name, type: "Map(LowCardinality(String), Bool)", count: flags.count)
        // The keys' serialization version comes before the offsets; nothing follows them where there are no keys.
        appendInteger(UInt64(1))
        var end: UInt64 = 0
        for row in flags {
            end += UInt64(row.nonzeroBitCount)
            appendInteger(end)
        }
        guard end > 0 else { return }
        var indexes: [UInt32] = []
        indexes.reserveCapacity(Int(end))
        for var row in flags {
            while row != 0 {
                indexes.append(UInt32(row.trailingZeroBitCount))
                row &= row - 1
            }
        }
        appendDictionary(names, indexes)
        bytes.append(contentsOf: repeatElement(1, count: indexes.count))
    }

    private mutating func beginColumn(_ name: String, type: String, count: Int) {
        precondition(count == rows, "column \(name) has \(count) values in a block of \(rows) rows")
        appendString(name)
        appendString(type)
    }

    private mutating func appendDictionary(_ keys: [String], _ indexes: [UInt32]) {
        /// Flags: the block brings its own keys (bit 9) and they replace earlier ones (bit 10).
        let ownKeys: UInt64 = 0x600
        let width: UInt64 = keys.count <= 1 << 8 ? 0 : keys.count <= 1 << 16 ? 1 : 2
        appendInteger(ownKeys | width)
        appendInteger(UInt64(keys.count))
        for key in keys { appendString(key) }
        appendInteger(UInt64(indexes.count))
        switch width {
        case 0: for index in indexes { bytes.append(UInt8(truncatingIfNeeded: index)) }
        case 1: for index in indexes { appendInteger(UInt16(truncatingIfNeeded: index)) }
        default: for index in indexes { appendInteger(index) }
        }
    }

    private mutating func appendInteger(_ value: some FixedWidthInteger & BitwiseCopyable) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func appendString(_ string: String) {
        var string = string
        string.withUTF8 { utf8 in
            appendVarUInt(UInt64(utf8.count))
            bytes.append(contentsOf: utf8)
        }
    }

    /// Seven bits a byte, the least significant first; the eighth says that more follow (LEB128).
    private mutating func appendVarUInt(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
