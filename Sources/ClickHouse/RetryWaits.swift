// SPDX-License-Identifier: Apache-2.0

/// The waits of workers between two attempts; a success of one worker shortens the waits of others.
///
/// A successful attempt ends two waits, and each of those that succeeds ends two more: after an outage, all workers
/// resume within a few inserts, and a ClickHouse that accepts only some inserts is asked little more often than it
/// accepts them. While no endpoint responds, one worker per second tries again, however long the waits have become.
/// Delays that an endpoint has asked for are not shortened.
struct RetryWaits: Sendable {
    private struct Waiter {
        let worker: Int
        let end: ContinuousClock.Instant
        let reason: InsertRetry.Wait
    }

    private static let waitsEndedBySuccess = 2
    private static let askingInterval = Duration.seconds(1)

    /// Waiting workers, those that have waited longest first.
    private var waiters: [Waiter] = []
    /// The start of the last wait or the last attempt that cut one short, whichever is later; nil before the first.
    private var lastAttempt: ContinuousClock.Instant?

    /// Begins the wait of a worker whose attempt has failed, and returns the time at which ``end(_:at:)`` is due.
    mutating func begin(
        _ worker: Int, _ duration: Duration, _ reason: InsertRetry.Wait, at now: ContinuousClock.Instant
    ) -> ContinuousClock.Instant {
        let waiter = Waiter(worker: worker, end: now + duration, reason: reason)
        waiters.append(waiter)
        lastAttempt = now
        return nextCheck(of: waiter)
    }

    /// Ends a worker's wait if the next attempt is due, because of the time or of a success; otherwise, returns the
    /// time at which to call this again.
    mutating func end(_ worker: Int, at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        guard let index = waiters.firstIndex(where: { $0.worker == worker }) else { return nil }
        let waiter = waiters[index]
        let next = nextCheck(of: waiter)
        guard next <= now else { return next }
        // An attempt before the wait's end stands for those of all workers that wait for a connection.
        if next < waiter.end { lastAttempt = now }
        waiters.remove(at: index)
        return nil
    }

    /// Records a successful attempt, and returns the workers whose waits it ends, at most two.
    mutating func recordSuccess() -> [Int] {
        var ended: [Int] = []
        while ended.count < Self.waitsEndedBySuccess,
            let index = waiters.firstIndex(where: { $0.reason != .asAsked })
        {
            ended.append(waiters.remove(at: index).worker)
        }
        return ended
    }

    /// The time at which a wait ends, or could be cut short by an attempt.
    private func nextCheck(of waiter: Waiter) -> ContinuousClock.Instant {
        guard waiter.reason == .forConnection, let lastAttempt else { return waiter.end }
        return min(waiter.end, lastAttempt + Self.askingInterval)
    }
}
