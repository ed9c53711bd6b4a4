// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A writer of text to a file descriptor, which gathers lines into large writes.
struct TextOutput {
    /// The error of a failed write.
    struct Failure: Error, CustomStringConvertible {
        /// The write's `errno`.
        let code: CInt

        var description: String { "cannot write the output: \(String(cString: strerror(code)))" }
    }

    private let descriptor: CInt
    private var text: [UInt8] = []

    init(_ descriptor: CInt) { self.descriptor = descriptor }

    mutating func write(_ line: String) throws(Failure) {
        text += line.utf8
        if text.count >= 1 << 16 { try flush() }
    }

    /// Writes the gathered text.
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
