// SPDX-License-Identifier: Apache-2.0

import CCurl
import Synchronization

/// Ends requests from another thread: a request in flight at once, and a later request with the same object as it
/// starts.
public final class HTTPCancellation: Sendable {
    private struct State {
        var isCancelled = false
        /// The addresses of the libcurl handles to wake.
        var transfers: Set<UInt> = []
    }

    private let state = Mutex(State())

    /// Makes an object that lets requests pass until ``cancel()`` is called.
    public init() {}

    /// Whether ``cancel()`` has been called.
    public var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Ends all requests that have this object, current and future. Callable from any thread.
    public func cancel() {
        state.withLock { state in
            state.isCancelled = true
            // Under the lock, so that no handle is freed meanwhile.
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
