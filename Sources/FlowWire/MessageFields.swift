// SPDX-License-Identifier: Apache-2.0

/// The fields of a frame's message, counted before protobuf-c unpacks it.
///
/// protobuf-c allocates for each field that it does not know and for each repetition of one that it knows: 1 MiB of fields
/// of two bytes costs an event loop 60 ms and 25 MB. A batch of today has 21 fields, since each of its columns is one.
enum MessageFields {
    /// The most fields of a message and of the messages in it together: later versions may add two hundred.
    static let maximumCount = 256

    /// Returns why a message must not be unpacked; nil where nothing speaks against it.
    static func problem(in message: UnsafeRawBufferPointer, of shape: MessageShape) -> WireError? {
        var count = 0
        var fields = FieldReader(message)
        self.count(&fields, of: shape, into: &count)
        if count > maximumCount { return .tooManyFields(limit: maximumCount) }
        return fields.isMalformed ? .notAMessage(message.count) : nil
    }

    /// Counts fields, those of the messages among them included, up to one more than there may be. What is malformed in
    /// an inner message is for protobuf-c to say.
    private static func count(_ fields: inout FieldReader, of shape: MessageShape, into count: inout Int) {
        while count <= maximumCount, let field = fields.next() {
            count += 1
            guard let inner = shape.messages[field.number] else { continue }
            var innerFields = FieldReader(field.content)
            self.count(&innerFields, of: inner, into: &count)
        }
    }
}

/// Which fields of a message are messages themselves, and of what shape. It is known of those that this version unpacks.
struct MessageShape {
    /// By the fields' numbers.
    private(set) var messages: [UInt64: MessageShape] = [:]

    private static let flat = MessageShape()

    /// `AgentMessage`: `hello` with its `host_addresses`, `batch` and `host_addresses`.
    static let agentMessage = MessageShape(messages: [1: MessageShape(messages: [6: flat]), 2: flat, 3: flat])

    /// `ServerMessage`: `ack` and `go_away`.
    static let serverMessage = MessageShape(messages: [1: flat, 2: flat])
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
