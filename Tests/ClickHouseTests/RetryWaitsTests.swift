// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import ClickHouse

@Suite struct RetryWaitsTests {
    private let start = ContinuousClock.now

    @Test("a wait ends when its time has come", arguments: [InsertRetry.Wait.forOperator, .asAsked, .forClickHouse])
    func time(reason: InsertRetry.Wait) {
        var waits = RetryWaits()
        let end = start + .seconds(30)
        #expect(waits.begin(0, .seconds(30), reason, at: start) == end)
        #expect(waits.end(0, at: end - .nanoseconds(1)) == end)
        #expect(waits.end(0, at: end) == nil)
        // It is over.
        #expect(waits.recordSuccess().isEmpty)
    }

    @Test("a success ends two waits, but none that an endpoint has asked for")
    func success() {
        var waits = RetryWaits()
        for (worker, reason) in [InsertRetry.Wait.asAsked, .forOperator, .forConnection, .forClickHouse].enumerated() {
            _ = waits.begin(worker, .seconds(30), reason, at: start)
        }
        #expect(waits.recordSuccess() == [1, 2] && waits.recordSuccess() == [3] && waits.recordSuccess() == [])
        for worker in 1...3 { #expect(waits.end(worker, at: start) == nil) }
        #expect(waits.end(0, at: start) == start + .seconds(30))
    }

    @Test("while nothing responds, one worker per second tries again")
    func connection() {
        var waits = RetryWaits()
        for worker in 0..<4 { _ = waits.begin(worker, .seconds(3600), .forConnection, at: start) }
        var (now, attempts) = (start, 0)
        for _ in 0..<600 {
            now += .milliseconds(100)
            for worker in 0..<4 where waits.end(worker, at: now) == nil {
                attempts += 1
                _ = waits.begin(worker, .seconds(3600), .forConnection, at: now)
            }
        }
        #expect(attempts == 60)
    }

    @Test("a wait for a connection that ends in time delays no other worker's attempt")
    func timeFirst() {
        var waits = RetryWaits()
        _ = waits.begin(0, .seconds(3600), .forConnection, at: start)
        _ = waits.begin(1, .milliseconds(500), .forConnection, at: start)
        #expect(waits.end(1, at: start + .milliseconds(500)) == nil)
        #expect(waits.end(0, at: start + .milliseconds(999)) == start + .seconds(1))
        #expect(waits.end(0, at: start + .seconds(1)) == nil)
    }
}
