// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An open file descriptor, closed with the last reference to it.
public final class Descriptor: Sendable {
    /// The descriptor's number.
    public let number: CInt

    /// Takes ownership of an open descriptor.
    public init(owning number: CInt) { self.number = number }

    /// Creates a second descriptor of the same file. Returns nil if the process may open no more files.
    public convenience init?(duplicating number: CInt) {
        let duplicate = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0 else { return nil }
        self.init(owning: duplicate)
    }

    deinit { close(number) }
}
