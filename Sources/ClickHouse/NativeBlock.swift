// SPDX-License-Identifier: Apache-2.0

/// Writes one block of ClickHouse's Native format, column by column
/// (https://clickhouse.com/docs/interfaces/formats/Native; src/Formats/NativeWriter.cpp, without the BlockInfo and the
/// custom-serialization bytes that only the TCP protocol has).
struct NativeBlock {
    /// The bytes written since the last ``takeBytes(_:)``.
    private(set) var bytes: [UInt8] = []
    private let rows: Int

    /// Begins a block in the memory of an earlier one. It must have at least one column and one row: ClickHouse takes a
    /// block without columns or rows for the end of the data and silently loses what follows.
    init(columns: Int, rows: Int, reusing memory: consuming [UInt8] = []) {
        precondition(columns > 0 && rows > 0, "an empty block ends the data")
        self.rows = rows
        bytes = consume memory
        bytes.removeAll(keepingCapacity: true)
        bytes.appendVarUInt(UInt64(columns))
        bytes.appendVarUInt(UInt64(rows))
    }

    /// Passes the bytes so far to `body` and removes them.
    mutating func takeBytes(_ body: ([UInt8]) -> Void) {
        body(bytes)
        bytes.removeAll(keepingCapacity: true)
    }

    /// Appends a column of values in little-endian order: numbers, dates, enums, IPv4 addresses.
    mutating func appendColumn<Number: FixedWidthInteger & BitwiseCopyable>(
        _ name: String, type: String, _ values: [Number]
    ) {
        beginColumn(name, type: type, count: values.count)
        values.withUnsafeBufferPointer { values in
            appendIntegers(of: Number.self, count: values.count) { values[$0].littleEndian }
        }
    }

    /// Appends a column of already encoded values, the same number of bytes for each row.
    mutating func appendColumn(_ name: String, type: String, values: ArraySlice<UInt8>) {
        precondition(values.count.isMultiple(of: rows), "column \(name) has a part of a value")
        beginColumn(name, type: type, count: rows)
        bytes.append(contentsOf: values)
    }

    /// Appends a column of numbers with the same value in every row.
    mutating func appendColumn<Number: FixedWidthInteger & BitwiseCopyable>(
        _ name: String, type: String, constant: Number
    ) {
        beginColumn(name, type: type, count: rows)
        appendIntegers(of: Number.self, count: rows) { _ in constant.littleEndian }
    }

    /// Appends a `LowCardinality(String)` column: distinct strings, and for each row the index of its string
    /// (src/DataTypes/Serializations/SerializationLowCardinality.cpp). ClickHouse accepts it for a `String` column too.
    mutating func appendColumn(_ name: String, keys: NativeKeys, indexes: [some UnsignedInteger & FixedWidthInteger]) {
        beginColumn(name, type: "LowCardinality(String)", count: indexes.count)
        appendKeysVersion()
        appendDictionary(keys, indexes)
    }

    /// Appends a `LowCardinality(String)` column with one more indirection: the index of a row's string is
    /// `indexes[rows[row]]`.
    mutating func appendColumn(_ name: String, keys: NativeKeys, indexes: [UInt32], ofRows rows: [UInt32]) {
        precondition((rows.max() ?? 0) < indexes.count, "column \(name) has a row without an index")
        beginColumn(name, type: "LowCardinality(String)", count: rows.count)
        appendKeysVersion()
        appendKeys(keys, count: rows.count)
        if keys.count <= 1 {
            bytes.append(contentsOf: repeatElement(0, count: rows.count))
        } else if keys.count <= 1 << 8 {
            appendIndexes(indexes.map { UInt8(truncatingIfNeeded: $0) }, ofRows: rows)
        } else if keys.count <= 1 << 16 {
            appendIndexes(indexes.map { UInt16(truncatingIfNeeded: $0) }, ofRows: rows)
        } else {
            appendIndexes(indexes, ofRows: rows)
        }
    }

    /// Appends a `LowCardinality(String)` column with the same string in every row.
    mutating func appendColumn(_ name: String, constant: String) {
        beginColumn(name, type: "LowCardinality(String)", count: rows)
        appendKeysVersion()
        appendKeys(NativeKeys([constant]), count: rows)
        bytes.append(contentsOf: repeatElement(0, count: rows))
    }

    /// Appends an `IPv6` column of addresses' bits; an empty array stands for `::` in every row.
    mutating func appendColumn(_ name: String, ipv6 addresses: [UInt128]) {
        beginColumn(name, type: "IPv6", count: addresses.isEmpty ? rows : addresses.count)
        if addresses.isEmpty {
            bytes.append(contentsOf: repeatElement(0, count: rows * MemoryLayout<UInt128>.size))
        }
        appendIntegers(of: UInt128.self, count: addresses.count) { addresses[$0].bigEndian }
    }

    /// Appends a `Map(LowCardinality(String), Bool)` column that holds `name: true` for each bit that is set in a row.
    ///
    /// - Parameters:
    ///   - flags: Bits for each row, the lowest for the first name.
    ///   - names: The names of the bits; every bit that is set must have one.
    mutating func appendColumn(_ name: String, flags: [UInt64], names: NativeKeys) {
        beginColumn(name, type: "Map(LowCardinality(String), Bool)", count: flags.count)
        // The keys' serialization version comes before the offsets; nothing follows the offsets if there are no keys.
        appendKeysVersion()
        var end: UInt64 = 0
        appendIntegers(of: UInt64.self, count: flags.count) { row in
            end += UInt64(flags[row].nonzeroBitCount)
            return end.littleEndian
        }
        guard end > 0 else { return }
        var indexes: [UInt8] = []
        indexes.reserveCapacity(Int(end))
        for var row in flags {
            while row != 0 {
                indexes.append(UInt8(row.trailingZeroBitCount))
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

    /// Appends the version of the serialization in which keys are sent with every block.
    private mutating func appendKeysVersion() { appendInteger(UInt64(1)) }

    private mutating func appendDictionary(_ keys: NativeKeys, _ indexes: [some UnsignedInteger & FixedWidthInteger]) {
        appendKeys(keys, count: indexes.count)
        switch Self.indexWidth(keys.count) {
        case 0: appendIntegers(of: UInt8.self, count: indexes.count) { UInt8(truncatingIfNeeded: indexes[$0]) }
        case 1:
            appendIntegers(of: UInt16.self, count: indexes.count) {
                UInt16(truncatingIfNeeded: indexes[$0]).littleEndian
            }
        default:
            appendIntegers(of: UInt32.self, count: indexes.count) {
                UInt32(truncatingIfNeeded: indexes[$0]).littleEndian
            }
        }
    }

    /// Returns the code of the indexes' width: 0 for one byte, 1 for two, 2 for four.
    private static func indexWidth(_ keys: Int) -> UInt64 { keys <= 1 << 8 ? 0 : keys <= 1 << 16 ? 1 : 2 }

    private mutating func appendKeys(_ keys: NativeKeys, count: Int) {
        /// Flags: the block brings its own keys (bit 9) and they replace earlier ones (bit 10).
        let ownKeys: UInt64 = 0x600
        appendInteger(ownKeys | Self.indexWidth(keys.count))
        appendInteger(UInt64(keys.count))
        bytes.append(contentsOf: keys.bytes)
        appendInteger(UInt64(count))
    }

    private mutating func appendIndexes<Index: FixedWidthInteger & BitwiseCopyable>(
        _ indexes: [Index], ofRows rows: [UInt32]
    ) {
        indexes.withUnsafeBufferPointer { indexes in
            rows.withUnsafeBufferPointer { rows in
                appendIntegers(of: Index.self, count: rows.count) { indexes[Int(rows[$0])].littleEndian }
            }
        }
    }

    /// Appends numbers in one pass. `value` returns each in the byte order to store.
    private mutating func appendIntegers<Number: FixedWidthInteger & BitwiseCopyable>(
        of type: Number.Type, count: Int, _ value: (Int) -> Number
    ) {
        let size = MemoryLayout<Number>.size
        bytes.append(addingCapacity: count * size) { span in
            span.withUnsafeMutableBufferPointer { buffer, initialized in
                guard let start = UnsafeMutableRawPointer(buffer.baseAddress) else { return }
                for index in 0..<count {
                    start.storeBytes(of: value(index), toByteOffset: index * size, as: Number.self)
                }
                initialized = count * size
            }
        }
    }

    private mutating func appendInteger(_ value: some FixedWidthInteger & BitwiseCopyable) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func appendString(_ string: String) {
        bytes.appendVarUInt(UInt64(string.utf8.count))
        bytes.append(contentsOf: string.utf8)
    }
}
