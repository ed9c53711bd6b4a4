// SPDX-License-Identifier: Apache-2.0

/// Writes the fields of a protobuf message.
public struct ProtobufWriter {
    /// The message so far.
    public private(set) var bytes: [UInt8] = []

    /// Begins a message without fields.
    public init() {}

    /// Appends a text.
    public mutating func append(_ number: Int, _ text: String) { append(number, Array(text.utf8)) }

    /// Appends bytes, or a message.
    public mutating func append(_ number: Int, _ content: [UInt8]) {
        appendVarint(UInt64(number) << 3 | 2)
        appendVarint(UInt64(content.count))
        bytes.append(contentsOf: content)
    }

    /// Appends a message that `body` writes.
    public mutating func append(_ number: Int, _ body: (inout ProtobufWriter) -> Void) {
        var message = ProtobufWriter()
        body(&message)
        append(number, message.bytes)
    }

    /// Appends a non-negative number.
    public mutating func append(_ number: Int, _ value: Int) {
        appendVarint(UInt64(number) << 3)
        appendVarint(UInt64(value))
    }

    /// Appends an entry of a map of texts.
    public mutating func append(_ number: Int, entry key: String, _ value: String) {
        append(number) { entry in
            entry.append(1, key)
            entry.append(2, value)
        }
    }

    private mutating func appendVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
