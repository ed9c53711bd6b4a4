// SPDX-License-Identifier: Apache-2.0

/// The compression of an insert's body.
public enum InsertCompression: String, CaseIterable, Sendable {
    /// No compression: about 76 bytes per row.
    case none
    /// The LZ4 frame format: about 24 bytes per row, the least CPU time for both sides.
    case lz4
    /// Zstandard, level 1: about 17 bytes per row, for networks where traffic is costly.
    case zstd

    /// The value of the header field `Content-Encoding`; nil for none.
    var contentEncoding: String? { self == .none ? nil : rawValue }

    /// The suffix of files with such bytes, by which tools detect the compression.
    var fileSuffix: String {
        switch self {
        case .none: ""
        case .lz4: ".lz4"
        case .zstd: ".zst"
        }
    }
}
