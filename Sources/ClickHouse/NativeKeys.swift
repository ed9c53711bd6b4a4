// SPDX-License-Identifier: Apache-2.0

/// Distinct strings as a `LowCardinality(String)` column holds them: each with its length before it.
struct NativeKeys: Sendable {
    /// How many there are.
    let count: Int
    private(set) var bytes: [UInt8] = []

    init(_ strings: [String]) {
        count = strings.count
        for string in strings { append(string) }
    }

    /// Takes strings that have their lengths before them already.
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
    /// Seven bits a byte, the least significant first; the eighth says that more follow (LEB128).
    mutating func appendVarUInt(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }
}
