// SPDX-License-Identifier: Apache-2.0

/// How the body of an insert is compressed on its way.
public enum InsertCompression: String, CaseIterable, Sendable {
    /// Not at all: about 70 bytes a row.
    case none
    /// LZ4's frame format: about 29 bytes a row, the cheapest for both sides.
    case lz4
    /// Zstandard, level 1: about 18 bytes a row, for networks that cost.
    case zstd

    /// The value of the header field `Content-Encoding`; nil for none.
    var contentEncoding: String? { self == .none ? nil : rawValue }

    /// What a file of such bytes ends with, for tools that look at it.
    var fileSuffix: String {
        switch self {
        case .none: ""
        case .lz4: ".lz4"
        case .zstd: ".zst"
        }
    }
}
