// SPDX-License-Identifier: Apache-2.0

/// The identity of an object, unique among all objects that ever existed, in 16 bytes.
///
/// The API server's `metadata.uid` is a UUID (RFC 4122); any other text is hashed.
public struct ObjectUID: Hashable, Sendable {
    /// The UUID as a number, or the hash of any other text.
    package let bits: UInt128

    package init(bits: UInt128) { self.bits = bits }

    /// Reads a `metadata.uid`.
    public init(_ text: String) {
        bits = Self.uuid(text) ?? Self.hash(text)
    }

    /// Parses 32 hexadecimal digits; hyphens are ignored.
    private static func uuid(_ text: String) -> UInt128? {
        guard text.utf8.count == 36 else { return nil }
        var number: UInt128 = 0
        var digits = 0
        for byte in text.utf8 where byte != UInt8(ascii: "-") {
            guard let digit = byte.hexDigitValue else { return nil }
            number = number << 4 | UInt128(digit)
            digits += 1
        }
        return digits == 32 ? number : nil
    }

    /// Hashes with 128-bit FNV-1a (draft-eastlake-fnv).
    private static func hash(_ text: String) -> UInt128 {
        text.utf8.reduce(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d) { hash, byte in
            (hash ^ UInt128(byte)) &* 0x0000_0000_0100_0000_0000_0000_0000_013b
        }
    }
}

extension UInt8 {
    /// The ASCII character's value as a hexadecimal digit; nil for other characters.
    fileprivate var hexDigitValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
