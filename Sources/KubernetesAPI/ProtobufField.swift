// SPDX-License-Identifier: Apache-2.0

/// The header of a field of a protobuf message: its number and the length of its content.
///
/// Messages too large to buffer are parsed field by field; protobuf-c unpacks the small ones.
struct ProtobufField {
    /// The field's number in the schema.
    let number: UInt64
    /// Whether the field is a message, a text or bytes.
    let isLengthDelimited: Bool
    /// The bytes before the content. A varint's value counts as part of them.
    let headerLength: Int
    /// The bytes of the content.
    let contentLength: Int

    /// The bytes of header and content.
    var length: Int { headerLength + contentLength }

    /// Reads the header at the front of the bytes; returns nil if it continues beyond them.
    init?(_ bytes: UnsafeRawBufferPointer) throws(KubernetesDecodingError) {
        var offset = 0
        guard let tag = try Self.varint(bytes, &offset) else { return nil }
        number = tag >> 3
        guard number > 0 else { throw .malformed("a field has the number 0") }
        switch tag & 7 {
        case 0:
            guard try Self.varint(bytes, &offset) != nil else { return nil }
            (isLengthDelimited, contentLength) = (false, 0)
        case 1: (isLengthDelimited, contentLength) = (false, 8)
        case 2:
            guard let length = try Self.varint(bytes, &offset) else { return nil }
            guard let contentLength = Int(exactly: length), contentLength <= Int.max / 2 else {
                throw .tooLong(part: "a field", length: length, limit: Int.max / 2)
            }
            (isLengthDelimited, self.contentLength) = (true, contentLength)
        case 5: (isLengthDelimited, contentLength) = (false, 4)
        default: throw .malformed("a field has the wire type \(tag & 7)")
        }
        headerLength = offset
    }

    /// Reads a varint: seven bits a byte, low bits first, up to a byte without its high bit.
    private static func varint(
        _ bytes: UnsafeRawBufferPointer, _ offset: inout Int
    ) throws(KubernetesDecodingError) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard offset < bytes.count else { return nil }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw .malformed("a number has more than ten bytes")
    }
}
