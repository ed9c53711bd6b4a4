// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An open file descriptor, closed with the last reference to it.
public final class Descriptor: Sendable {
    /// The descriptor's number.
    public let number: CInt

    /// Owns an open descriptor from now on.
    public init(owning number: CInt) { self.number = number }

    /// Makes a second descriptor of what another refers to. Returns nil where the process may open no more files.
    public convenience init?(duplicating number: CInt) {
        let duplicate = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0 else { return nil }
        self.init(owning: duplicate)
    }

    deinit { close(number) }
}
