// SPDX-License-Identifier: Apache-2.0

internal import CZlib

/// Decompresses gzip data (RFC 1952).
enum Gzip {
    /// The limit on the length of a decompressed document, in bytes.
    static let maximumBytes = 64 << 20

    /// Whether the bytes begin with gzip's magic number.
    static func isBeginning(of bytes: [UInt8]) -> Bool { bytes.starts(with: [0x1f, 0x8b]) }

    /// Returns the decompressed content; throws ``RangeListError/notJSON(detail:)`` if it is damaged or too long.
    static func unpack(_ bytes: [UInt8]) throws(RangeListError) -> [UInt8] {
        var stream = z_stream()
        // 15 bits of window, and 16 for gzip's header (inflateInit2 in zlib.h).
        guard inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw .notJSON(detail: "it is compressed and cannot be unpacked: out of memory")
        }
        defer { inflateEnd(&stream) }
        var content: [UInt8] = []
        var input = bytes
        let result = input.withUnsafeMutableBufferPointer { input in
            stream.next_in = input.baseAddress
            stream.avail_in = uInt(clamping: input.count)
            var result = Z_OK
            while result == Z_OK, content.count <= maximumBytes {
                content += [UInt8](unsafeUninitializedCapacity: 1 << 16) { piece, count in
                    stream.next_out = piece.baseAddress
                    stream.avail_out = uInt(piece.count)
                    result = inflate(&stream, Z_NO_FLUSH)
                    count = piece.count - Int(stream.avail_out)
                }
            }
            return result
        }
        guard content.count <= maximumBytes else {
            throw .notJSON(detail: "it is compressed and larger than \(maximumBytes) bytes when unpacked")
        }
        guard result == Z_STREAM_END else { throw .notJSON(detail: "it is compressed and either damaged or truncated") }
        return content
    }
}
