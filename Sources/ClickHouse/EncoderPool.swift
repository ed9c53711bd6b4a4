// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// A few encoders for many threads: as many as there are processors do the work as fast, and take less memory, than one
/// for each thread.
final class EncoderPool: Sendable {
    private let free: Mutex<[BlockEncoder]>
    private let available: DispatchSemaphore
    /// The memory that unused encoders hold, in bytes.
    var memoryBytes: Int { free.withLock { $0.reduce(0) { $0 + $1.memoryBytes } } }

    init(count: Int) {
        free = Mutex((0..<count).map { _ in BlockEncoder() })
        available = DispatchSemaphore(value: count)
    }

    /// Waits for an encoder and uses it.
    func withEncoder<Result>(_ body: (inout BlockEncoder) -> Result) -> Result {
        available.wait()
        // The one that was used last: its memory may still be in the processor's cache.
        var encoder = free.withLock { $0.popLast() } ?? BlockEncoder()
        let result = body(&encoder)
        free.withLock { [encoder] in $0.append(encoder) }
        available.signal()
        return result
    }
}
