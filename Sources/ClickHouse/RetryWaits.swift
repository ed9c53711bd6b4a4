// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// Where threads wait between two attempts, so that what one of them learns helps the others.
///
/// An attempt that succeeds ends two waits, and each of those that succeeds then two more: after an outage all are back
/// within a few inserts, and a ClickHouse that takes only some inserts is asked little more often than it takes them.
/// While no endpoint answers, one thread a second asks again, however long the waits have become. What an endpoint has
/// asked for is kept.
final class RetryWaits: Sendable {
    private final class Waiter: Sendable {
        let end = DispatchSemaphore(value: 0)
        let reason: InsertRetry.Wait

        init(_ reason: InsertRetry.Wait) { self.reason = reason }
    }

    private struct State {
        /// Those who have waited for longest come first.
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

    /// An attempt has succeeded.
    func succeeded() {
        state.withLock { state in
            for _ in 0..<Self.waitsEndedBySuccess {
                guard let index = state.waiters.firstIndex(where: { $0.reason != .asAsked }) else { return }
                state.waiters.remove(at: index).end.signal()
            }
        }
    }

    /// Ends all waits, those to come included.
    func end() {
        state.withLock { state in
            state.isOver = true
            for waiter in state.waiters { waiter.end.signal() }
        }
    }
}
