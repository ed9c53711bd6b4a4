// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Text on its way to a file descriptor, in large pieces.
struct TextOutput {
    /// Why it could not be written.
    struct Failure: Error, CustomStringConvertible {
        /// An `errno`.
        let code: CInt

        var description: String { "the output cannot be written: \(String(cString: strerror(code)))" }
    }

    private let descriptor: CInt
    private var text: [UInt8] = []

    init(_ descriptor: CInt) { self.descriptor = descriptor }

    mutating func write(_ line: String) throws(Failure) {
        text += line.utf8
        if text.count >= 1 << 16 { try flush() }
    }

    /// Writes what has not been written yet.
    mutating func flush() throws(Failure) {
        var rest = text[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written >= 0 else { throw Failure(code: errno) }
            rest = rest.dropFirst(written)
        }
        text.removeAll(keepingCapacity: true)
    }
}
