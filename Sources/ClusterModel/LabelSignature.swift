// SPDX-License-Identifier: Apache-2.0

/// A digest of an object's labels that tells whether a selector's labels are among them: 16 bytes a pod, whatever its labels
/// are.
///
/// Four bits of 128 for each label (a Bloom filter): a label that is there is always found, and of ten labels one that is not
/// there is taken for there once in 200 times.
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

    /// Whether there is no label.
    public var isEmpty: Bool { bits == 0 }

    /// Whether all labels of a selector are among these.
    public func meets(_ selector: LabelSignature) -> Bool { bits & selector.bits == selector.bits }

    /// Adds a label of which the UTF-8 of key and value is given.
    public mutating func insert(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        // FNV-1a; a key has no zero byte.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash = hash &* 0x0000_0100_0000_01b3
        for byte in value { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash ^= hash >> 32
        for place in 0..<4 as Range<UInt64> { bits |= 1 << UInt128(hash >> (7 * place) & 127) }
    }
}
