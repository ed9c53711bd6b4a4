// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Finds the strings under given names in a JSON text (RFC 8259), without building values from the rest.
///
/// With Multus or OVN-Kubernetes, every pod has such a text, and most contain only the address that is known already,
/// so nothing is allocated for skipped values. Strings are passed on as written, with their escapes; no address has
/// any.
struct JSONTexts {
    /// The names that lead to a string: a set for each enclosing object; nil for any name. Arrays need no entry.
    typealias Path = [[StaticString]?]

    /// The limit on nesting; the annotations of networks have up to five levels.
    private static let depthLimit = 32

    private let bytes: UnsafeRawBufferPointer
    private let body: (UnsafeRawBufferPointer) -> Void
    private var position = 0
    private var depth = 0

    /// Calls `body` with each string under `path`, up to the point where the text is malformed or too deep; returns
    /// true if it is neither.
    static func forEach(
        in bytes: UnsafeRawBufferPointer, under path: Path, _ body: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        withoutActuallyEscaping(body) { body in
            var texts = JSONTexts(bytes: bytes, body: body)
            return texts.value(path[...]) && texts.next() == nil
        }
    }

    private init(bytes: UnsafeRawBufferPointer, body: @escaping (UnsafeRawBufferPointer) -> Void) {
        self.bytes = bytes
        self.body = body
    }

    /// Reads a value; `path` is nil where no string is wanted.
    private mutating func value(_ path: ArraySlice<[StaticString]?>?) -> Bool {
        switch next() {
        case UInt8(ascii: "{"): return object(path)
        case UInt8(ascii: "["): return list(until: UInt8(ascii: "]")) { $0.value(path) }
        case UInt8(ascii: "\""):
            guard let text = string() else { return false }
            if let path, path.isEmpty { body(text) }
            return true
        default: return word()
        }
    }

    private mutating func object(_ path: ArraySlice<[StaticString]?>?) -> Bool {
        list(until: UInt8(ascii: "}")) { texts in
            guard texts.next() == UInt8(ascii: "\""), let name = texts.string(), texts.skip(UInt8(ascii: ":")) else {
                return false
            }
            guard let path, let names = path.first else { return texts.value(nil) }
            let leadsOn = names.map { names in names.contains { $0.equals(name) } } ?? true
            return texts.value(leadsOn ? path.dropFirst() : nil)
        }
    }

    /// Reads the elements between two brackets, with a comma after each but the last.
    private mutating func list(until end: UInt8, _ element: (inout JSONTexts) -> Bool) -> Bool {
        position += 1
        depth += 1
        guard depth <= Self.depthLimit else { return false }
        defer { depth -= 1 }
        if skip(end) { return true }
        repeat {
            guard element(&self) else { return false }
        } while skip(UInt8(ascii: ","))
        return skip(end)
    }

    /// Reads a string without its quotes; returns nil if it is unterminated.
    private mutating func string() -> UnsafeRawBufferPointer? {
        position += 1
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return UnsafeRawBufferPointer(rebasing: bytes[start..<position - 1])
            case UInt8(ascii: "\\"): position += 2
            default: position += 1
            }
        }
        return nil
    }

    /// Reads a number, `true`, `false` or `null`.
    private mutating func word() -> Bool {
        let start = position
        while position < bytes.count, bytes[position].isOfWord { position += 1 }
        return position > start
    }

    /// Skips blanks; returns the byte after them without consuming it.
    private mutating func next() -> UInt8? {
        while position < bytes.count {
            let byte = bytes[position]
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
            position += 1
        }
        return nil
    }

    /// Skips blanks and, if it comes next, this byte; returns whether it came.
    private mutating func skip(_ byte: UInt8) -> Bool {
        guard next() == byte else { return false }
        position += 1
        return true
    }
}

extension UInt8 {
    fileprivate var isOfWord: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

extension StaticString {
    fileprivate func equals(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard utf8CodeUnitCount == bytes.count, let start = bytes.baseAddress else { return false }
        return memcmp(utf8Start, start, bytes.count) == 0
    }
}
