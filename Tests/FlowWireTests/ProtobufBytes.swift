// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

/// Protobuf's wire format written by hand, so that a test can build messages that no encoder would.
enum Protobuf {
    /// Returns a field of wire type 0.
    static func field(_ number: Int, varint value: UInt64) -> [UInt8] { varint(UInt64(number << 3)) + varint(value) }

    /// Returns a field of wire type 2: bytes, a string, a message or a packed column.
    static func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
        varint(UInt64(number << 3 | 2)) + varint(UInt64(bytes.count)) + bytes
    }

    /// Returns the entries of a packed column of integers.
    static func packed(_ values: [UInt64]) -> [UInt8] { values.flatMap(varint) }

    /// Returns the entries of a packed column of fixed32.
    static func packed(fixed values: [UInt32]) -> [UInt8] {
        values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    }

    static func varint(_ value: UInt64) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f | 0x80)] + varint(value >> 7)
    }
}

extension ByteBuffer {
    /// Makes a buffer from bytes in hexadecimal; whitespace is ignored, and so is the rest of a line after `#`.
    init(annotatedHex text: String) throws {
        self.init()
        for line in text.split(separator: "\n") {
            let digits = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
            try #require(digits.count.isMultiple(of: 2), "\(line)")
            for start in stride(from: 0, to: digits.count, by: 2) {
                writeInteger(try #require(UInt8(digits.dropFirst(start).prefix(2), radix: 16), "\(line)"))
            }
        }
    }
}
