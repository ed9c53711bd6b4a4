// SPDX-License-Identifier: Apache-2.0

/// A CRC-32C checksum (Castagnoli polynomial, RFC 3720 section 12.1), computed byte by byte from a table of 1 KiB.
struct CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { remainder, _ in remainder >> 1 ^ (remainder & 1) * 0x82f6_3b78 }
    }

    private var remainder: UInt32 = .max

    /// The checksum of the bytes so far.
    var value: UInt32 { ~remainder }

    /// Adds bytes to the checksum.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        remainder = Self.table.withUnsafeBufferPointer { table in
            bytes.reduce(remainder) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
        }
    }
}
