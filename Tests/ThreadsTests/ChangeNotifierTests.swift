// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing
import Threads

@Suite struct ChangeNotifierTests {
    /// A number that a condition reads, and the number of its evaluations.
    private final class Watched: Sendable {
        let number = Atomic(0)
        let evaluations = Atomic(0)

        func isAtLeast(_ limit: Int) -> Bool {
            evaluations.add(1, ordering: .relaxed)
            return number.load(ordering: .relaxed) >= limit
        }
    }

    private let notifier = ChangeNotifier()
    private let watched = Watched()

    /// Waits until `count` conditions have been evaluated.
    private func evaluations(_ count: Int) async throws {
        try await eventually("\(count) evaluations") { watched.evaluations.load(ordering: .relaxed) == count }
    }

    @Test("a task's condition is evaluated once and then once per change, until it is met")
    func task() async throws {
        async let waiting: Void = notifier.wait { watched.isAtLeast(3) }
        for count in 1...3 {
            try await evaluations(count)
            watched.number.add(1, ordering: .relaxed)
            notifier.notify()
        }
        await waiting
        #expect(watched.evaluations.load(ordering: .relaxed) == 4)
        #expect(notifier.waiters == 0)
    }

    @Test("a thread's condition is evaluated once and then once per change, until it is met")
    func thread() async throws {
        let thread = OwnedThread(name: "test")
        let (notifier, watched) = (notifier, watched)
        async let waiting: Void = thread.run { notifier.block(atMost: .seconds(36_000)) { watched.isAtLeast(3) } }
        for count in 1...3 {
            try await evaluations(count)
            watched.number.add(1, ordering: .relaxed)
            notifier.notify()
        }
        try await waiting
        #expect(watched.evaluations.load(ordering: .relaxed) == 4)
        #expect(notifier.waiters == 0)
    }

    @Test("a thread stops waiting at the limit")
    func limit() {
        notifier.block(atMost: .milliseconds(10)) { watched.isAtLeast(1) }
        #expect(watched.evaluations.load(ordering: .relaxed) == 1 && notifier.waiters == 0)
    }

    @Test("a cancelled task stops waiting, be it cancelled before or during the wait")
    func cancellation() async throws {
        let (notifier, watched) = (notifier, watched)
        let waiting = Task { await notifier.wait { watched.isAtLeast(1) } }
        try await eventually("the task waits") { notifier.waiters == 1 }
        waiting.cancel()
        await waiting.value
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            await notifier.wait { watched.isAtLeast(1) }
        }
        await late.value
        #expect(notifier.waiters == 0)
    }

    @Test("a change between the evaluation and the wait ends the wait")
    func changeDuringEvaluation() async throws {
        let (notifier, watched) = (notifier, watched)
        // The condition changes the state itself, after it has read it.
        let condition = { @Sendable in
            let isMet = watched.isAtLeast(1)
            watched.number.store(1, ordering: .relaxed)
            notifier.notify()
            return isMet
        }
        await notifier.wait(until: condition)
        watched.number.store(0, ordering: .relaxed)
        try await OwnedThread(name: "test").run { notifier.block(atMost: .seconds(36_000), until: condition) }
        #expect(watched.evaluations.load(ordering: .relaxed) == 4)
    }

    @Test("no notification is lost while threads and tasks wait for one another")
    func manyTurns() async throws {
        let (notifier, watched) = (notifier, watched)
        let turns = 2_000
        let thread = OwnedThread(name: "test")
        async let answers: Void = thread.run {
            for turn in 0..<turns {
                notifier.block(atMost: .seconds(36_000)) { watched.isAtLeast(2 * turn + 1) }
                watched.number.add(1, ordering: .relaxed)
                notifier.notify()
            }
        }
        for turn in 0..<turns {
            watched.number.add(1, ordering: .relaxed)
            notifier.notify()
            await notifier.wait { watched.isAtLeast(2 * turn + 2) }
        }
        try await answers
        #expect(watched.number.load(ordering: .relaxed) == 2 * turns && notifier.waiters == 0)
    }
}
