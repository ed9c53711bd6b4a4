// SPDX-License-Identifier: Apache-2.0

import CThreadName
import Dispatch
import Glibc
import Synchronization

/// A thread that a part of the program owns for work that blocks: requests, files, waits for the kernel.
///
/// It runs the work that it is given in its order. When its owner has released it, it ends after that work. It takes no
/// signals, which are for the main thread.
public final class OwnedThread: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var isEnding = false
    }

    /// The work, which the thread refers to instead of its owner's ``OwnedThread``.
    private final class Queue: Sendable {
        let state = Mutex(State())
        /// Signalled after each change of the state.
        let changed = DispatchSemaphore(value: 0)

        /// Runs the work until the end.
        func run() {
            while true {
                changed.wait()
                let (work, isEnding) = state.withLock { state in
                    defer { state.work = [] }
                    return (state.work, state.isEnding)
                }
                for body in work { body() }
                if isEnding { return }
            }
        }
    }

    /// A new thread's name and work.
    private final class Start {
        let name: String
        let body: @Sendable () -> Void

        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    private let queue = Queue()

    /// Starts a thread.
    ///
    /// - Parameter name: The thread's name in `/proc` and debuggers, of which the kernel keeps 15 bytes.
    public init(name: String) {
        Self.start(name: name) { [queue] in queue.run() }
    }

    deinit {
        queue.state.withLock { $0.isEnding = true }
        queue.changed.signal()
    }

    /// Runs `body` on a new thread, which ends with it.
    ///
    /// - Parameters:
    ///   - name: The thread's name in `/proc` and debuggers, of which the kernel keeps 15 bytes.
    ///   - body: The work.
    public static func start(name: String, _ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(name, body))
        var thread = pthread_t()
        let error = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                var signals = sigset_t()
                sigfillset(&signals)
                // A blocked fault ends the process without the runtime's backtrace.
                for fault in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT] { sigdelset(&signals, fault) }
                pthread_sigmask(SIG_BLOCK, &signals, nil)
                _ = kubenetmon_set_thread_name(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        // Without the thread, its part of the daemon would stand still unnoticed. The orchestrator starts the process again.
        guard error == 0 else { fatalError("cannot start the thread \(name): \(String(cString: strerror(error)))") }
        pthread_detach(thread)
    }

    /// Adds work, and returns immediately.
    public func submit(_ body: @escaping @Sendable () -> Void) {
        queue.state.withLock { $0.work.append(body) }
        queue.changed.signal()
    }

    /// Adds work and waits until it has ended. Throws the work's errors, and a `CancellationError` instead of adding it
    /// if the task is cancelled already.
    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try Task.checkCancellation()
        return try await withCheckedThrowingContinuation { continuation in
            submit { continuation.resume(with: Result { try body() }) }
        }
    }
}
