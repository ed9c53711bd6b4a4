// SPDX-License-Identifier: Apache-2.0

import CCurl
import Synchronization

/// Ends requests from another thread: the one that is under way at once, and every later one that is given it before it
/// begins.
public final class HTTPCancellation: Sendable {
    private struct State {
        var isCancelled = false
        /// The transfers to wake, as addresses.
        var transfers: Set<UInt> = []
    }

    private let state = Mutex(State())

    /// Makes one that lets requests pass.
    public init() {}

    /// Whether requests are refused.
    public var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Ends the requests that were given this, for good. Callable from any thread.
    public func cancel() {
        state.withLock { state in
            state.isCancelled = true
            // Under the lock, a transfer cannot go away meanwhile.
            for transfer in state.transfers { curl_multi_wakeup(UnsafeMutableRawPointer(bitPattern: transfer)) }
        }
    }

    func add(_ transfer: UnsafeMutableRawPointer) {
        state.withLock { _ = $0.transfers.insert(UInt(bitPattern: transfer)) }
    }

    func remove(_ transfer: UnsafeMutableRawPointer) {
        state.withLock { _ = $0.transfers.remove(UInt(bitPattern: transfer)) }
    }
}
