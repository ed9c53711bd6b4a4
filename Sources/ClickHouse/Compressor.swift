// SPDX-License-Identifier: Apache-2.0

import CCompression

/// Compresses bodies piece by piece, one body after another.
struct Compressor: Sendable {
    private let lz4 = LZ4Stream()
    private let zstd = ZstandardStream()

    /// Appends the compressed form of a body's next bytes.
    func append(_ bytes: [UInt8], to body: inout [UInt8], with compression: InsertCompression) {
        switch compression {
        case .none: body += bytes
        case .lz4: lz4.append(bytes, to: &body)
        case .zstd: zstd.append(bytes, to: &body)
        }
    }

    /// Appends the end of a body.
    func finish(_ body: inout [UInt8], with compression: InsertCompression) {
        switch compression {
        case .none: break
        case .lz4: lz4.finish(&body)
        case .zstd: zstd.finish(&body)
        }
    }
}

/// An LZ4 frame in which every piece makes blocks of its own. Used by one thread at a time.
private final class LZ4Stream: @unchecked Sendable {
    private let context: OpaquePointer
    private var preferences = LZ4F_preferences_t()
    private var hasBegun = false

    init() {
        var context: OpaquePointer?
        guard LZ4F_isError(LZ4F_createCompressionContext(&context, UInt32(LZ4F_VERSION))) == 0, let context else {
            fatalError("LZ4 cannot allocate a context: out of memory")
        }
        self.context = context
        // With blocks of up to 4 MB, a piece is seldom cut. Blocks are independent, since the next piece is another
        // column and resembles this one little.
        preferences.frameInfo.blockSizeID = LZ4F_max4MB
        preferences.frameInfo.blockMode = LZ4F_blockIndependent
        preferences.autoFlush = 1
    }

    func append(_ bytes: [UInt8], to output: inout [UInt8]) {
        if !hasBegun {
            write(to: &output, atMost: Int(LZ4F_HEADER_SIZE_MAX)) {
                LZ4F_compressBegin(context, $0.baseAddress, $0.count, &preferences)
            }
            hasBegun = true
        }
        write(to: &output, atMost: LZ4F_compressBound(bytes.count, &preferences)) {
            LZ4F_compressUpdate(context, $0.baseAddress, $0.count, bytes, bytes.count, nil)
        }
    }

    func finish(_ output: inout [UInt8]) {
        write(to: &output, atMost: LZ4F_compressBound(0, &preferences)) {
            LZ4F_compressEnd(context, $0.baseAddress, $0.count, nil)
        }
        hasBegun = false
    }

    /// Appends the bytes that `body` writes, at most `bound`; it returns their number. With that much room, LZ4 fails
    /// only when memory is exhausted.
    private func write(to output: inout [UInt8], atMost bound: Int, _ body: (UnsafeMutableBufferPointer<UInt8>) -> Int)
    {
        output.appendBytes(atMost: bound) { free in
            let count = body(free)
            precondition(LZ4F_isError(count) == 0, "LZ4: \(String(cString: LZ4F_getErrorName(count)))")
            return count
        }
    }

    deinit { LZ4F_freeCompressionContext(context) }
}

/// A Zstandard frame, level 1. Used by one thread at a time.
private final class ZstandardStream: @unchecked Sendable {
    private let context: OpaquePointer

    init() {
        guard let context = ZSTD_createCCtx() else { fatalError("Zstandard cannot allocate a context: out of memory") }
        self.context = context
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1)
    }

    func append(_ bytes: [UInt8], to output: inout [UInt8]) {
        var input = ZSTD_inBuffer(src: nil, size: bytes.count, pos: 0)
        bytes.withUnsafeBytes { bytes in
            input.src = bytes.baseAddress
            while input.pos < input.size { compress(&input, ZSTD_e_continue, to: &output) }
        }
    }

    func finish(_ output: inout [UInt8]) {
        var input = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
        while compress(&input, ZSTD_e_end, to: &output) > 0 {}
    }

    /// Runs one compression call and returns the number of bytes that remain for another. Zstandard fails only when
    /// memory is exhausted.
    @discardableResult
    private func compress(
        _ input: inout ZSTD_inBuffer, _ operation: ZSTD_EndDirective, to output: inout [UInt8]
    ) -> Int {
        var waiting = 0
        output.appendBytes(atMost: ZSTD_CStreamOutSize()) { free in
            var buffer = ZSTD_outBuffer(dst: free.baseAddress, size: free.count, pos: 0)
            waiting = ZSTD_compressStream2(context, &buffer, &input, operation)
            precondition(ZSTD_isError(waiting) == 0, "Zstandard: \(String(cString: ZSTD_getErrorName(waiting)))")
            return buffer.pos
        }
        return waiting
    }

    deinit { ZSTD_freeCCtx(context) }
}

extension [UInt8] {
    /// Appends the bytes that `body` writes; it returns their number.
    fileprivate mutating func appendBytes(atMost bound: Int, _ body: (UnsafeMutableBufferPointer<UInt8>) -> Int) {
        append(addingCapacity: bound) { span in
            span.withUnsafeMutableBufferPointer { free, count in count = body(free) }
        }
    }
}
