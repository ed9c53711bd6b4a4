// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A failure to read the addresses of a network namespace.
public struct RouteSocketError: Error, Equatable, CustomStringConvertible {
    /// The operation that failed.
    let operation: String
    /// The `errno` of a system call or of the kernel's response.
    public let code: CInt

    init(_ operation: String, errno code: CInt) {
        self.operation = operation
        self.code = code
    }

    /// The operation and the error as text for a log line.
    public var description: String { "\(operation): \(String(cString: strerror(code)))" }
}
