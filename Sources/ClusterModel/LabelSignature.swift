// SPDX-License-Identifier: Apache-2.0

/// A digest of an object's labels that tests whether they include a selector's labels: 16 bytes a pod, however many
/// labels it has.
///
/// A Bloom filter with four of 128 bits for each label: it has no false negatives, and with ten labels in it, a false
/// positive once in 200 tests of an absent label.
public struct LabelSignature: Hashable, Sendable {
    private var bits: UInt128 = 0

    /// Makes the digest of no labels.
    public init() {}

    /// Makes the digest of labels.
    public init(_ labels: [String: String]) {
        for (var key, var value) in labels {
            key.withUTF8 { key in
                value.withUTF8 { value in insert(UnsafeRawBufferPointer(key), UnsafeRawBufferPointer(value)) }
            }
        }
    }

    /// Whether the digest covers no labels.
    public var isEmpty: Bool { bits == 0 }

    /// Whether these labels include all labels of a selector; false positives are rare, false negatives impossible.
    public func meets(_ selector: LabelSignature) -> Bool { bits & selector.bits == selector.bits }

    /// Adds a label, given as the UTF-8 of its key and value.
    public mutating func insert(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        // FNV-1a over key, zero byte and value; a key has no zero byte.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash = hash &* 0x0000_0100_0000_01b3
        for byte in value { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash ^= hash >> 32
        for place in 0..<4 as Range<UInt64> { bits |= 1 << UInt128(hash >> (7 * place) & 127) }
    }
}
