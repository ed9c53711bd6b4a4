// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// The waits of threads between two attempts; a success of one thread shortens the waits of others.
///
/// A successful attempt ends two waits, and each of those that succeeds ends two more: after an outage, all threads
/// resume within a few inserts, and a ClickHouse that accepts only some inserts is asked little more often than it
/// accepts them. While no endpoint responds, one thread per second tries again, however long the waits have become.
/// Delays that an endpoint has asked for are not shortened.
final class RetryWaits: Sendable {
    private final class Waiter: Sendable {
        let end = DispatchSemaphore(value: 0)
        let reason: InsertRetry.Wait

        init(_ reason: InsertRetry.Wait) { self.reason = reason }
    }

    private struct State {
        /// Waiting threads, those that have waited longest first.
        var waiters: [Waiter] = []
        var lastAttempt = ContinuousClock.now
        var isOver = false
    }

    private static let waitsEndedBySuccess = 2
    private static let askingInterval = Duration.seconds(1)

    private let state = Mutex(State())

    /// Blocks the calling thread, whose attempt has failed, until its next attempt is due.
    func wait(_ duration: Duration, _ reason: InsertRetry.Wait) {
        let end = ContinuousClock.now + duration
        let waiter = Waiter(reason)
        let isOver = state.withLock { state in
            state.waiters.append(waiter)
            state.lastAttempt = .now
            return state.isOver
        }
        defer { state.withLock { $0.waiters.removeAll { $0 === waiter } } }
        while !isOver, !isDue(waiter, end) {
            let next =
                reason == .forConnection ? min(end, state.withLock { $0.lastAttempt } + Self.askingInterval) : end
            guard waiter.end.wait(timeout: .now() + (next - .now) / .seconds(1)) == .timedOut else { return }
        }
    }

    private func isDue(_ waiter: Waiter, _ end: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            let now = ContinuousClock.now
            let asks = waiter.reason == .forConnection && now >= state.lastAttempt + Self.askingInterval
            if asks { state.lastAttempt = now }
            return asks || now >= end
        }
    }

    /// Records a successful attempt: ends two waits.
    func succeeded() {
        state.withLock { state in
            for _ in 0..<Self.waitsEndedBySuccess {
                guard let index = state.waiters.firstIndex(where: { $0.reason != .asAsked }) else { return }
                state.waiters.remove(at: index).end.signal()
            }
        }
    }

    /// Ends all waits, present and future.
    func end() {
        state.withLock { state in
            state.isOver = true
            for waiter in state.waiters { waiter.end.signal() }
        }
    }
}
