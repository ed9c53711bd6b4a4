// SPDX-License-Identifier: Apache-2.0

/// The fields of a frame's message, counted before protobuf-c unpacks it.
///
/// protobuf-c allocates for each field that it does not know and for each repetition of one that it knows: 1 MiB of fields
/// of two bytes costs an event loop 60 ms and 25 MB. A batch of today has 21 fields, since each of its columns is one.
enum MessageFields {
    /// The most fields of a message and of the message in its body together: later versions may add two hundred.
    static let maximumCount = 256

    /// The numbers of the fields of `AgentMessage` and `ServerMessage` that hold messages, which hold none themselves.
    private static let bodies: ClosedRange<UInt64> = 1...2

    /// Returns why a message must not be unpacked; nil where nothing speaks against it.
    static func problem(in message: UnsafeRawBufferPointer) -> WireError? {
        var count = 0
        var outer = FieldReader(message)
        while let field = outer.next() {
            count += 1
            if bodies.contains(field.number) {
                // What is malformed in a body is for protobuf-c to say.
                var inner = FieldReader(field.content)
                while count <= maximumCount, inner.next() != nil { count += 1 }
            }
            guard count <= maximumCount else { return .tooManyFields(limit: maximumCount) }
        }
        return outer.isMalformed ? .notAMessage(message.count) : nil
    }
}

/// Reads one field after the other, as protobuf-c does (https://protobuf.dev/programming-guides/encoding/).
private struct FieldReader {
    /// A field's number and, where it is a message, a text or bytes, its content.
    typealias Field = (number: UInt64, content: UnsafeRawBufferPointer)

    private var rest: UnsafeRawBufferPointer
    private(set) var isMalformed = false

    init(_ message: UnsafeRawBufferPointer) { rest = message }

    /// Returns the next field; nil at the end and where the rest is malformed.
    mutating func next() -> Field? {
        guard !rest.isEmpty, !isMalformed else { return nil }
        guard let tag = readVarint(maximumLength: 5), let content = readContent(wireType: tag & 7) else {
            isMalformed = true
            return nil
        }
        return (tag >> 3, content)
    }

    private mutating func readContent(wireType: UInt64) -> UnsafeRawBufferPointer? {
        switch wireType {
        case 0: readVarint(maximumLength: 10).flatMap { _ in read(0) }
        case 1: read(8).flatMap { _ in read(0) }
        case 2: readVarint(maximumLength: 5).flatMap { read(Int($0)) }
        case 5: read(4).flatMap { _ in read(0) }
        default: nil
        }
    }

    private mutating func readVarint(maximumLength: Int) -> UInt64? {
        var value: UInt64 = 0
        for place in 0..<min(maximumLength, rest.count) {
            let byte = rest[place]
            value |= UInt64(byte & 0x7f) << UInt64(7 * place)
            if byte < 0x80 { return read(place + 1).map { _ in value } }
        }
        return nil
    }

    private mutating func read(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count <= rest.count else { return nil }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
        return UnsafeRawBufferPointer(rebasing: rest[..<count])
    }
}
