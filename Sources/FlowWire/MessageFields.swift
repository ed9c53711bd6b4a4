// SPDX-License-Identifier: Apache-2.0

/// The fields of a frame's message, counted before protobuf-c unpacks it.
///
/// protobuf-c allocates memory for each unknown field and for each repetition of a known one: 1 MiB of fields of two
/// bytes costs an event loop 60 ms and 25 MB. A batch has 23 fields today, since each of its columns is one.
enum MessageFields {
    /// The most fields of a message and of its inner messages together. It leaves room for two hundred that later
    /// versions may add.
    static let maximumCount = 256

    /// Returns the reason not to unpack a message; nil if it may be unpacked.
    static func problem(in message: UnsafeRawBufferPointer, of shape: MessageShape) -> WireError? {
        var count = 0
        var fields = FieldReader(message)
        self.count(&fields, of: shape, into: &count)
        if count > maximumCount { return .tooManyFields(limit: maximumCount) }
        return fields.isMalformed ? .notAMessage(message.count) : nil
    }

    /// Counts fields, including those of inner messages, and stops at one more than ``maximumCount``. Malformed inner
    /// messages are left for protobuf-c to detect.
    private static func count(_ fields: inout FieldReader, of shape: MessageShape, into count: inout Int) {
        while count <= maximumCount, let field = fields.next() {
            count += 1
            guard let inner = shape.messages[field.number] else { continue }
            var innerFields = FieldReader(field.content)
            self.count(&innerFields, of: inner, into: &count)
        }
    }
}

/// The fields of a message that are messages themselves, with their shapes. Only fields that this version unpacks are
/// listed.
struct MessageShape {
    /// The shapes of inner messages, by field number.
    private(set) var messages: [UInt64: MessageShape] = [:]

    private static let flat = MessageShape()

    /// `AgentMessage`: `hello` with its `host_addresses`, `batch`, `host_addresses`, `leaving`, `confirmation` and
    /// `in_doubt`.
    static let agentMessage = MessageShape(
        messages: [1: MessageShape(messages: [6: flat]), 2: flat, 3: flat, 4: flat, 5: flat, 6: flat])

    /// `ServerMessage`: `ack`, `go_away`, `welcome`, `held` and `settlement`.
    static let serverMessage = MessageShape(messages: [1: flat, 2: flat, 3: flat, 4: flat, 5: flat])
}

/// Reads one field after the other, as protobuf-c does (https://protobuf.dev/programming-guides/encoding/).
private struct FieldReader {
    /// A field's number and, for a message, a string or bytes, its content; else an empty buffer.
    typealias Field = (number: UInt64, content: UnsafeRawBufferPointer)

    private var rest: UnsafeRawBufferPointer
    private(set) var isMalformed = false

    init(_ message: UnsafeRawBufferPointer) { rest = message }

    /// Returns the next field; nil at the end or if the rest is malformed.
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
