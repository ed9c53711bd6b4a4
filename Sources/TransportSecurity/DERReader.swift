// SPDX-License-Identifier: Apache-2.0

/// Reads the elements of a DER encoding (X.690) one after another.
struct DERReader {
    /// One element.
    struct Element {
        /// The identifier octet, such as 0x30 for a SEQUENCE.
        let tag: UInt8
        /// The octets of the value.
        let content: ArraySlice<UInt8>
        /// All octets: identifier, length and value.
        let encoding: ArraySlice<UInt8>
    }

    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// Returns the next element; nil at the end, or if the rest is not a complete element.
    mutating func next() -> Element? {
        let start = position
        guard let tag = nextOctet(), let length = nextLength(), length <= bytes.endIndex - position else { return nil }
        let content = bytes[position..<position + length]
        position += length
        return Element(tag: tag, content: content, encoding: bytes[start..<position])
    }

    private mutating func nextOctet() -> UInt8? {
        guard position < bytes.endIndex else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    /// Reads a length. A first octet up to 127 is the length itself; above, it gives the number of length octets that
    /// follow, of which a file of 1 MiB needs three.
    private mutating func nextLength() -> Int? {
        guard let first = nextOctet() else { return nil }
        guard first > 0x7f else { return Int(first) }
        guard 0x81...0x83 ~= first else { return nil }
        var length = 0
        for _ in 0..<first & 0x7f {
            guard let octet = nextOctet() else { return nil }
            length = length << 8 | Int(octet)
        }
        return length
    }
}
