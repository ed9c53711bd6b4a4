// SPDX-License-Identifier: Apache-2.0

import CCompression

/// Decompresses bodies that ``Compressor`` made. It ends the process if the libraries cannot allocate their contexts,
/// as ``Compressor`` does: the batch could neither be sent nor be distinguished from one that was.
enum Decompressor {
    /// The increment of the memory for decompressed bytes.
    private static let pieceBytes = 1 << 20

    /// Returns the uncompressed bytes of a body.
    static func decompress(_ body: ClickHouseClient.Body) -> [UInt8] {
        switch body.compression {
        case .none: body.bytes
        case .lz4: lz4(body.bytes)
        case .zstd: zstd(body.bytes)
        }
    }

    private static func lz4(_ bytes: [UInt8]) -> [UInt8] {
        var context: OpaquePointer?
        guard LZ4F_isError(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))) == 0, let context else {
            fatalError("LZ4 cannot allocate a context: out of memory")
        }
        defer { LZ4F_freeDecompressionContext(context) }
        return decompress(bytes) { input, output in
            var (read, written) = (input.count, output.count)
            let result = LZ4F_decompress(context, output.baseAddress, &written, input.baseAddress, &read, nil)
            precondition(LZ4F_isError(result) == 0, "LZ4: \(String(cString: LZ4F_getErrorName(result)))")
            return (read, written)
        }
    }

    private static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        guard let context = ZSTD_createDCtx() else { fatalError("Zstandard cannot allocate a context: out of memory") }
        defer { ZSTD_freeDCtx(context) }
        return decompress(bytes) { input, output in
            var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
            var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
            let result = ZSTD_decompressStream(context, &target, &source)
            precondition(ZSTD_isError(result) == 0, "Zstandard: \(String(cString: ZSTD_getErrorName(result)))")
            return (source.pos, target.pos)
        }
    }

    /// Runs `step`, which returns how many bytes it has read and written, until it has read all input and does not fill
    /// its output.
    private static func decompress(
        _ bytes: [UInt8], _ step: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> (read: Int, written: Int)
    ) -> [UInt8] {
        var output: [UInt8] = []
        var position = 0
        var isFull = true
        while position < bytes.count || isFull {
            var piece = [UInt8](repeating: 0, count: pieceBytes)
            let (read, written) = bytes.withUnsafeBytes { input in
                piece.withUnsafeMutableBytes { step(UnsafeRawBufferPointer(rebasing: input[position...]), $0) }
            }
            position += read
            isFull = written == pieceBytes
            output += piece.prefix(written)
        }
        return output
    }
}
