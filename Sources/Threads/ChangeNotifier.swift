// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// Wakes the threads and tasks that wait until some state meets a condition, each time that the state has changed.
///
/// The waiter evaluates its condition, at first and after each ``notify()``. It registers before the first evaluation,
/// so that a change during an evaluation causes another one.
public final class ChangeNotifier: Sendable {
    private struct State {
        var lastNumber: UInt64 = 0
        /// The functions that wake the present waiters, by the waiter's number.
        var waiters: [UInt64: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    /// Makes a notifier without waiters.
    public init() {}

    /// Wakes all waiters, which evaluate their conditions. Call it after a change, once the state's lock is released.
    /// Callable from any thread.
    public func notify() {
        let waiters = state.withLock { Array($0.waiters.values) }
        for wake in waiters { wake() }
    }

    /// Waits until `condition` returns true or the task is cancelled.
    public func wait(until condition: () -> Bool) async {
        let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = register { change.yield() }
        defer { remove(number) }
        var iterator = changes.makeAsyncIterator()
        while !condition(), await iterator.next() != nil {}
    }

    /// Blocks the thread until `condition` returns true, or until the time limit.
    public func block(atMost limit: Duration, until condition: () -> Bool) {
        let changed = DispatchSemaphore(value: 0)
        let number = register { changed.signal() }
        defer { remove(number) }
        let deadline = DispatchTime.now() + limit / .seconds(1)
        while !condition(), changed.wait(timeout: deadline) == .success {}
    }

    /// The number of present waiters, for tests.
    package var waiters: Int { state.withLock { $0.waiters.count } }

    private func register(_ wake: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            state.lastNumber += 1
            state.waiters[state.lastNumber] = wake
            return state.lastNumber
        }
    }

    private func remove(_ number: UInt64) { state.withLock { $0.waiters[number] = nil } }
}
