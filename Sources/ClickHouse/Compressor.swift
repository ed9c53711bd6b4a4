// SPDX-License-Identifier: Apache-2.0

import CCompression

/// Compresses bodies, one after another, in memory that it keeps.
struct Compressor: Sendable {
    private var output: [UInt8] = []
    private let zstd = ZstandardContext()

    /// Memory that is kept, in bytes.
    var memoryBytes: Int { output.capacity }

    /// The bytes in their compressed form, in an array of just their size.
    mutating func compress(_ bytes: [UInt8], with compression: InsertCompression) -> [UInt8] {
        switch compression {
        case .none: bytes.withUnsafeBufferPointer { Array($0) }
        case .lz4: compressLZ4(bytes)
        case .zstd: compressZstandard(bytes)
        }
    }

    private mutating func compressLZ4(_ bytes: [UInt8]) -> [UInt8] {
        var preferences = LZ4F_preferences_t()
        // The window is 64 KiB whatever the block; large blocks have less overhead. Independent ones spare a copy.
        preferences.frameInfo.blockSizeID = LZ4F_max4MB
        preferences.frameInfo.blockMode = LZ4F_blockIndependent
        preferences.frameInfo.contentSize = UInt64(bytes.count)
        return compress(bytes, bound: LZ4F_compressFrameBound(bytes.count, &preferences)) { input, output in
            let count = LZ4F_compressFrame(
                output.baseAddress, output.count, input.baseAddress, input.count, &preferences)
            precondition(LZ4F_isError(count) == 0, "LZ4: \(String(cString: LZ4F_getErrorName(count)))")
            return count
        }
    }

    private mutating func compressZstandard(_ bytes: [UInt8]) -> [UInt8] {
        compress(bytes, bound: ZSTD_compressBound(bytes.count)) { [zstd] input, output in
            let count = ZSTD_compressCCtx(
                zstd.context, output.baseAddress, output.count, input.baseAddress, input.count, 1)
            precondition(ZSTD_isError(count) == 0, "Zstandard: \(String(cString: ZSTD_getErrorName(count)))")
            return count
        }
    }

    /// `body` writes at most `bound` bytes and returns how many. With so much room, neither library knows another failure
    /// than exhausted memory.
    private mutating func compress(
        _ bytes: [UInt8], bound: Int, _ body: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int
    ) -> [UInt8] {
        output.removeAll(keepingCapacity: true)
        output.append(addingCapacity: bound) { span in
            span.withUnsafeMutableBufferPointer { output, count in
                count = bytes.withUnsafeBytes { body($0, UnsafeMutableRawBufferPointer(output)) }
            }
        }
        return output.withUnsafeBufferPointer { Array($0) }
    }
}

/// Zstandard's tables, which are made once. They are used by one thread at a time, that of their ``Compressor``.
private final class ZstandardContext: @unchecked Sendable {
    let context: OpaquePointer

    init() {
        guard let context = ZSTD_createCCtx() else { fatalError("Zstandard cannot allocate a context: out of memory") }
        self.context = context
    }

    deinit { ZSTD_freeCCtx(context) }
}
