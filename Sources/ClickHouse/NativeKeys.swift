// SPDX-License-Identifier: Apache-2.0

/// Distinct strings as a `LowCardinality(String)` column stores them: each preceded by its length.
struct NativeKeys: Sendable {
    /// The number of strings.
    let count: Int
    private(set) var bytes: [UInt8] = []

    init(_ strings: [String]) {
        count = strings.count
        for string in strings { append(string) }
    }

    /// Makes keys from strings that are already preceded by their lengths.
    init(serialized strings: [ArraySlice<UInt8>]) {
        count = strings.count
        for string in strings { bytes.append(contentsOf: string) }
    }

    private mutating func append(_ string: String) {
        bytes.appendVarUInt(UInt64(string.utf8.count))
        bytes.append(contentsOf: string.utf8)
    }
}

extension [UInt8] {
    /// Appends a number in LEB128: seven bits per byte, the least significant first; the eighth bit is set if more
    /// bytes follow.
    mutating func appendVarUInt(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }
}
