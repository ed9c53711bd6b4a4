// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why the addresses of a network namespace could not be read.
public struct RouteSocketError: Error, Equatable, CustomStringConvertible {
    /// What was attempted.
    public let operation: String
    /// An `errno`, of a system call or from the kernel's answer.
    public let code: CInt

    init(_ operation: String, errno code: CInt) {
        self.operation = operation
        self.code = code
    }

    /// The error for a log.
    public var description: String { "\(operation): \(String(cString: strerror(code)))" }
}
