// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Limits the duration of a daemon's shutdown: its services are first asked to stop, one after the other, then all are
/// cancelled, then the process exits.
///
/// The clock is an event loop with a thread of its own, so it runs even if a service blocks the threads of all tasks.
final class DaemonEnd: Sendable {
    /// Time limits of a shutdown.
    struct Bounds {
        /// Time from SIGTERM until services are cancelled.
        var shutdown: Duration
        /// Time from a service's failure until the others are cancelled.
        var failure = Duration.seconds(3)
        /// Time from the cancellation until the process exits.
        var cancellation = Duration.milliseconds(1500)

        /// Adds 10 s for work that does not wait for the network: the last collection of a table of a million
        /// connections takes up to that long.
        init(shutdownTimeout: Duration) { shutdown = shutdownTimeout + .seconds(10) }
    }

    private struct State {
        var running: [String] = []
        var deadline: NIODeadline?
        var hasFailed = false
        var cancel: (@Sendable () -> Void)?
        var isOver = false
        var clock: MultiThreadedEventLoopGroup?
    }

    /// The shutdown of the daemon that runs the calling task; nil outside one.
    @TaskLocal static var current: DaemonEnd?

    private let bounds: Bounds
    private let logger: Logger
    private let state = Mutex(State())

    init(_ bounds: Bounds, _ logger: Logger) {
        self.bounds = bounds
        self.logger = logger
    }

    func onDeadline(cancel: @escaping @Sendable () -> Void) { state.withLock { $0.cancel = cancel } }

    func started(_ service: String) { state.withLock { $0.running.append(service) } }

    func ended(_ service: String) {
        state.withLock { state in
            if let index = state.running.firstIndex(of: service) { state.running.remove(at: index) }
        }
    }

    func shutdownBegins() { arm(bounds.shutdown) }

    func failed(_ service: String, _ reason: String) {
        logger.critical("a service failed: shutting down", metadata: ["service": "\(service)", "error": "\(reason)"])
        state.withLock { $0.hasFailed = true }
        arm(bounds.failure)
    }

    /// Stops the clock.
    ///
    /// - Returns: Whether the shutdown was clean: no service failed and no time limit was exceeded.
    func disarm() -> Bool {
        state.withLock { state in
            state.isOver = true
            state.clock?.shutdownGracefully { _ in }
            state.clock = nil
            return !state.hasFailed
        }
    }

    /// Sets the deadline unless an earlier one is set.
    private func arm(_ time: Duration) {
        let deadline = NIODeadline.now() + TimeAmount(time)
        state.withLock { state in
            guard !state.isOver, deadline < state.deadline ?? .distantFuture else { return }
            state.deadline = deadline
            let clock = state.clock ?? MultiThreadedEventLoopGroup(numberOfThreads: 1)
            state.clock = clock
            let eventLoop = clock.next()
            eventLoop.scheduleTask(deadline: deadline) { self.cancel(at: deadline) }
            eventLoop.scheduleTask(deadline: deadline + TimeAmount(bounds.cancellation)) {
                self.exit(at: deadline)
            }
        }
    }

    private func cancel(at deadline: NIODeadline) {
        let due = state.withLock { state -> (cancel: @Sendable () -> Void, running: [String])? in
            guard !state.isOver, state.deadline == deadline, let cancel = state.cancel else { return nil }
            state.hasFailed = true
            return (cancel, state.running)
        }
        guard let due else { return }
        logger.error("services have not stopped in time: cancelling them", metadata: ["services": "\(due.running)"])
        due.cancel()
    }

    private func exit(at deadline: NIODeadline) {
        let running = state.withLock { $0.isOver || $0.deadline != deadline ? nil : $0.running }
        guard let running else { return }
        logger.critical(
            "services did not stop after cancellation: exiting without them", metadata: ["services": "\(running)"])
        _exit(1)
    }
}
