// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The stream that logs are written to.
enum StandardError {
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a text, in one piece if it is short, so that the lines of several processes do not mix.
    @Sendable static func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            // A failure to write to the log cannot be logged.
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}

extension LogConfiguration.Format {
    var isJSON: Bool {
        switch self {
        case .automatic: !StandardError.isTerminal
        case .json: true
        case .text: false
        }
    }
}
