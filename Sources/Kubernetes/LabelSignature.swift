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
        for (key, value) in labels { insert(key.utf8, value.utf8) }
    }

    /// Whether there is no label.
    public var isEmpty: Bool { bits == 0 }

    /// Whether all labels of a selector are among these.
    public func meets(_ selector: LabelSignature) -> Bool { bits & selector.bits == selector.bits }

    mutating func insert(_ key: some Sequence<UInt8>, _ value: some Sequence<UInt8>) {
        // FNV-1a; a key has no zero byte.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash = hash &* 0x0000_0100_0000_01b3
        for byte in value { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash ^= hash >> 32
        for place in 0..<4 as Range<UInt64> { bits |= 1 << UInt128(hash >> (7 * place) & 127) }
    }
}

/// The bytes of a C string, its end apart.
struct CStringBytes: Sequence, IteratorProtocol {
    private var rest: UnsafePointer<CChar>?

    /// Reads a string that the caller keeps; nil for the empty one.
    init(_ string: UnsafePointer<CChar>?) { rest = string }

    mutating func next() -> UInt8? {
        guard let byte = rest?.pointee, byte != 0 else { return nil }
        rest = rest?.successor()
        return UInt8(bitPattern: byte)
    }
}
