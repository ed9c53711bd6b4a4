// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Glibc

/// Memory followed by an unreadable page: a read past the end of a message crashes the test process.
final class GuardedBytes {
    private let pages: UnsafeMutableRawPointer
    private let pageSize = Int(getpagesize())

    init() {
        pages = mmap(nil, 2 * pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(
            pages != MAP_FAILED && mprotect(pages + pageSize, pageSize, PROT_NONE) == 0, "mmap or mprotect failed")
    }

    deinit { munmap(pages, 2 * pageSize) }

    /// Lends a copy of up to a page of bytes; its last byte is the last readable one.
    func lend<Result>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        let copy = UnsafeMutableRawBufferPointer(start: pages + pageSize - bytes.count, count: bytes.count)
        copy.copyBytes(from: bytes)
        return try body(UnsafeRawBufferPointer(copy))
    }
}
