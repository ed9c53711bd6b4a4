// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Synchronization
import TestSupport
import Testing
import Threads

@Suite struct OwnedThreadTests {
    private final class Record: Sendable {
        let numbers = Mutex<[Int]>([])
    }

    private struct Failure: Error, Equatable {}

    @Test("work runs in its order, on one thread, while the caller goes on")
    func order() async throws {
        let (thread, record, gate) = (OwnedThread(name: "test"), Record(), DispatchSemaphore(value: 0))
        let first = try await thread.run { UInt(pthread_self()) }
        thread.submit { gate.wait() }
        for number in 0..<100 { thread.submit { record.numbers.withLock { $0.append(number) } } }
        #expect(record.numbers.withLock { $0 } == [])
        gate.signal()
        #expect(try await thread.run { UInt(pthread_self()) } == first)
        #expect(record.numbers.withLock { $0 } == Array(0..<100))
    }

    @Test("the work's result and its error are returned")
    func results() async throws {
        let thread = OwnedThread(name: "test")
        #expect(try await thread.run { 7 } == 7)
        await #expect(throws: Failure()) { try await thread.run { throw Failure() } }
    }

    @Test("a thread has a name of at most 15 bytes and takes no signals")
    func attributes() async throws {
        for (name, expected) in [("watch-pods", "watch-pods"), ("watch-replicasets", "watch-replicase")] {
            let (found, blocked) = try await OwnedThread(name: name).run {
                let name = try String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
                var signals = sigset_t()
                pthread_sigmask(SIG_BLOCK, nil, &signals)
                let blocked = [SIGTERM, SIGINT, SIGPIPE, SIGHUP].map { sigismember(&signals, $0) }
                return (name, blocked)
            }
            #expect(found == "\(expected)\n" && blocked == [1, 1, 1, 1])
        }
    }

    @Test("a released thread does the work that it was given, and then ends")
    func end() async throws {
        weak var released: Record?
        let (record, gate) = (Record(), DispatchSemaphore(value: 0))
        do {
            let (thread, held) = (OwnedThread(name: "test"), Record())
            released = held
            thread.submit { gate.wait() }
            thread.submit { record.numbers.withLock { $0.append(held.numbers.withLock { $0.count }) } }
        }
        #expect(record.numbers.withLock { $0 } == [])
        gate.signal()
        try await eventually("the work is done and gone") { record.numbers.withLock { $0 } == [0] && released == nil }
    }

    @Test("a thread that is started for one piece of work runs it beside its caller")
    func start() {
        let (begun, ended) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        OwnedThread.start(name: "test") {
            begun.wait()
            ended.signal()
        }
        begun.signal()
        ended.wait()
    }

    @Test("work of a cancelled task is not begun, and work that has begun is waited for")
    func cancellation() async throws {
        let (thread, record, gate) = (OwnedThread(name: "test"), Record(), DispatchSemaphore(value: 0))
        let (begun, continuation) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            try await thread.run {
                continuation.finish()
                gate.wait()
                record.numbers.withLock { $0.append(1) }
            }
            await #expect(throws: CancellationError.self) {
                try await thread.run { record.numbers.withLock { $0.append(2) } }
            }
        }
        for await _ in begun {}
        task.cancel()
        gate.signal()
        try await task.value
        #expect(record.numbers.withLock { $0 } == [1])
    }
}
