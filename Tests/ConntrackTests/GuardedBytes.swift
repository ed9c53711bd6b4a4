// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Memory that ends where a page begins that may not be read: reading behind a message ends the test's process.
final class GuardedBytes {
    private let pages: UnsafeMutableRawPointer
    private let pageSize = Int(getpagesize())

    init() {
        pages = mmap(nil, 2 * pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(
            pages != MAP_FAILED && mprotect(pages + pageSize, pageSize, PROT_NONE) == 0, "mmap or mprotect failed")
    }

    deinit { munmap(pages, 2 * pageSize) }

    /// Lends a copy of up to a page of bytes whose last byte is the last that may be read.
    func lend<Result>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        let copy = UnsafeMutableRawBufferPointer(start: pages + pageSize - bytes.count, count: bytes.count)
        copy.copyBytes(from: bytes)
        return try body(UnsafeRawBufferPointer(copy))
    }
}

/// SplitMix64: the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
