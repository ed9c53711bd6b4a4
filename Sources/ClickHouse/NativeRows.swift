// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
/// The rows of an uncompressed body, to be sent again in smaller bodies. Reads only the columns that ``NativeBlock``
/// writes.
struct NativeRows {
    private struct Column {
        let name: String
        let type: String
        let values: Values
    }

    private enum Values {
        /// The same number of bytes in every row.
        case fixed(ArraySlice<UInt8>, width: Int)
        /// `LowCardinality(String)`: distinct strings, each preceded by its length, and the index of each row's string.
        case strings([ArraySlice<UInt8>], indexes: [Int])
        /// `Map(LowCardinality(String), Bool)`: a bit for each name that is true in a row.
        case flags([ArraySlice<UInt8>], bits: [UInt64])
    }

    /// The number of rows.
    let count: Int
    private var columns: [Column] = []

    init(_ body: [UInt8]) {
        var reader = Reader(bytes: body[...])
        let columnCount = Int(reader.varUInt())
        count = Int(reader.varUInt())
        for _ in 0..<columnCount {
            let (name, type) = (reader.string(), reader.string())
            columns.append(Column(name: name, type: type, values: Self.values(type, count, &reader)))
        }
        precondition(reader.bytes.isEmpty, "a body has bytes behind its columns")
    }

    private static func values(_ type: String, _ count: Int, _ reader: inout Reader) -> Values {
        switch type {
        case "LowCardinality(String)":
            reader.skip(MemoryLayout<UInt64>.size)
            let (keys, indexes) = reader.dictionary()
            return .strings(keys, indexes: indexes)
        case "Map(LowCardinality(String), Bool)":
            reader.skip(MemoryLayout<UInt64>.size)
            let ends = (0..<count).map { _ in Int(reader.integer(UInt64.self)) }
            guard let total = ends.last, total > 0 else {
                return .flags([], bits: Array(repeating: 0, count: count))
            }
            let (names, indexes) = reader.dictionary()
            reader.skip(total)
            let bits = zip([0] + ends, ends).map { begin, end in
                indexes[begin..<end].reduce(into: UInt64(0)) { $0 |= 1 << UInt64($1) }
            }
            return .flags(names, bits: bits)
        default:
            let width = width(of: type)
            return .fixed(reader.take(count * width), width: width)
        }
    }

    private static func width(of type: String) -> Int {
        switch type {
        case "Date", "UInt16": 2
        case "DateTime", "IPv4": 4
        case "UInt64": 8
        case "IPv6": 16
        case let name where name.hasPrefix("Enum8("): 1
        default: preconditionFailure("a body has a column of the type \(type)")
        }
    }

    /// Returns the network bytes that a range of rows reports.
    func reportedBytes(of rows: Range<Int>) -> UInt64 { sum(of: .bytes, in: rows) }

    /// Returns the sum of a column of unsigned integers in a range of rows, modulo 2^64; 0 if there is no such column.
    func sum(of name: FlowColumn, in rows: Range<Int>) -> UInt64 {
        guard let column = columns.first(where: { $0.name == name.name }),
            case .fixed(let values, let width) = column.values
        else { return 0 }
        var reader = Reader(bytes: values.dropFirst(rows.lowerBound * width))
        return rows.reduce(0) { sum, _ in sum &+ reader.unsigned(width: width) }
    }

    /// Returns an uncompressed body of a range of rows, with only the strings that they use.
    func body(of rows: Range<Int>) -> [UInt8] {
        var block = NativeBlock(columns: columns.count, rows: rows.count)
        for column in columns {
            switch column.values {
            case .fixed(let values, let width):
                let part = values.dropFirst(rows.lowerBound * width).prefix(rows.count * width)
                block.appendColumn(column.name, type: column.type, values: part)
            case .strings(let keys, let indexes):
                var numbers: [Int: UInt32] = [:]
                var used: [ArraySlice<UInt8>] = []
                let own = indexes[rows].map { index in
                    if let number = numbers[index] { return number }
                    let number = UInt32(used.count)
                    numbers[index] = number
                    used.append(keys[index])
                    return number
                }
                block.appendColumn(column.name, keys: NativeKeys(serialized: used), indexes: own)
            case .flags(let names, let bits):
                block.appendColumn(column.name, flags: Array(bits[rows]), names: NativeKeys(serialized: names))
            }
        }
        return block.bytes
    }
}

/// Reads the parts of a Native block one after another. The bytes are the server's own, so missing bytes are a
/// programming error.
private struct Reader {
    private(set) var bytes: ArraySlice<UInt8>

    mutating func take(_ count: Int) -> ArraySlice<UInt8> {
        precondition(count <= bytes.count, "a body ends within a column")
        defer { bytes = bytes.dropFirst(count) }
        return bytes.prefix(count)
    }

    mutating func skip(_ count: Int) { _ = take(count) }

    mutating func varUInt() -> UInt64 {
        var (value, shift) = (UInt64(0), UInt64(0))
        while let byte = take(1).first {
            value |= UInt64(byte & 0x7f) << shift
            shift += 7
            if byte & 0x80 == 0 { break }
        }
        return value
    }

    /// Reads an unsigned integer of at most eight bytes.
    mutating func unsigned(width: Int) -> UInt64 { take(width).reversed().reduce(0) { $0 << 8 | UInt64($1) } }

    mutating func integer<Number: FixedWidthInteger>(_ type: Number.Type) -> Number {
        take(MemoryLayout<Number>.size).reversed().reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
    }

    /// Reads a string together with the length that precedes it.
    mutating func serializedString() -> ArraySlice<UInt8> {
        let begin = bytes
        let length = varUInt()
        skip(Int(length))
        return begin[begin.startIndex..<bytes.startIndex]
    }

    mutating func string() -> String { String(decoding: take(Int(varUInt())), as: UTF8.self) }

    /// Reads the keys and indexes of a `LowCardinality` column.
    mutating func dictionary() -> (keys: [ArraySlice<UInt8>], indexes: [Int]) {
        /// The code of the indexes' width, in the lowest bits of the flags: 0, 1 and 2 for 1, 2 and 4 bytes.
        let width = integer(UInt64.self) & 0xff
        let keys = (0..<integer(UInt64.self)).map { _ in serializedString() }
        let count = integer(UInt64.self)
        let indexes = (0..<count).map { _ in
            switch width {
            case 0: Int(integer(UInt8.self))
            case 1: Int(integer(UInt16.self))
            default: Int(integer(UInt32.self))
            }
        }
        return (keys, indexes)
    }
}
