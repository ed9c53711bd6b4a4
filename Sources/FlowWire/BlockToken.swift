// SPDX-License-Identifier: Apache-2.0

import CFlowProto

/// The deduplication token of a block on the wire: 16 random bytes, drawn by the server that inserts the block.
enum BlockToken {
    static let byteCount = MemoryLayout<UInt128>.size

    /// The last day whose seconds since the Unix epoch fit 32 bits, as those of every row must.
    static let lastDay = UInt16(UInt32.max / 86_400)

    /// Reads the day of a block's rows; throws ``WireError/valueOutOfRange(column:value:)``.
    static func day(_ value: UInt32) throws(WireError) -> UInt16 {
        guard let day = UInt16(exactly: value), day <= lastDay else {
            throw .valueOutOfRange(column: "day", value: UInt64(value))
        }
        return day
    }

    /// Reads the tokens of a field; throws ``WireError/badToken(field:length:)``.
    static func list(_ data: ProtobufCBinaryData, _ field: String) throws(WireError) -> [UInt128] {
        guard data.len % byteCount == 0 else { throw .badToken(field: field, length: data.len) }
        let bytes = UnsafeRawBufferPointer(start: data.data, count: data.len)
        return (0..<data.len / byteCount).map { index in
            UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: index * byteCount, as: UInt128.self))
        }
    }

    /// Reads the token of a field; throws ``WireError/badToken(field:length:)``.
    static func one(_ data: ProtobufCBinaryData, _ field: String) throws(WireError) -> UInt128 {
        guard data.len == byteCount, let token = try list(data, field).first else {
            throw .badToken(field: field, length: data.len)
        }
        return token
    }

    /// Returns the bytes of tokens.
    static func bytes(_ tokens: some Sequence<UInt128>) -> [UInt8] {
        tokens.flatMap { token in withUnsafeBytes(of: token.bigEndian, Array.init) }
    }
}
