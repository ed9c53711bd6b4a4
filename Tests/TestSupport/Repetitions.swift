// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// Makes an array of `count` repetitions of some bytes. It copies ever larger pieces: in a debug build, a loop over
    /// single bytes takes a second for a megabyte or two.
    public init(repetitionsOf bytes: [UInt8], count: Int) {
        let length = count * bytes.count
        self = []
        reserveCapacity(length)
        if length > 0 { self += bytes }
        while self.count < length { self += self.prefix(length - self.count) }
    }
}
