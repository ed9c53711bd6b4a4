// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import FlowExport
import InstanceLock
import Logging
import NIOCore
import Operations
import ServiceLifecycle
import Threads

/// Lets the agent collect while it holds the lock of its network namespace, hands over to a successor, and stands by
/// afterwards.
///
/// The order of a handover: the turn's services stop, first collection, then the events, all of which are read, then
/// the probes, which release their port. The lock and the event socket are granted to the successor. The successor
/// confirms, listens on the port, and reads the events that the socket has received in the meantime. This process sends
/// its remaining batches, and collects again if its successor ends before it does.
struct LockService: Service, CustomStringConvertible {
    /// The services that collect while the lock is held.
    struct Turn: Sendable {
        /// In the order of their start; stopped in reverse order.
        var services: [any Service]
        /// Makes a second descriptor of the event socket, from which nothing receives once the services have ended;
        /// returns nil if the process may not open more files.
        var duplicateEventSocket: @Sendable () -> Descriptor?
    }

    let description = "lock"

    /// The time limit for a successor to take over the offered lock and socket.
    private static let handoverTime: TimeAmount = .seconds(20)

    private let configuration: LockConfiguration
    private let group: any EventLoopGroup
    private let exporter: FlowExporter
    private let selfCheck: SelfCheck
    private let logger: Logger
    private let makeTurn: @Sendable (_ events: Descriptor?) async throws -> Turn

    /// - Parameters:
    ///   - configuration: The lock's configuration.
    ///   - group: The event loops that time a handover.
    ///   - exporter: The exporter, which is started with the first turn.
    ///   - selfCheck: The check that reports a lock's name held by something other than an agent.
    ///   - logger: The logger for all events of the lock.
    ///   - makeTurn: Makes the services that collect, with the event socket of the agent that has handed over, if any.
    init(
        _ configuration: LockConfiguration, group: any EventLoopGroup, exporter: FlowExporter, selfCheck: SelfCheck,
        logger: Logger, makeTurn: @escaping @Sendable (_ events: Descriptor?) async throws -> Turn
    ) {
        self.configuration = configuration
        self.group = group
        self.exporter = exporter
        self.selfCheck = selfCheck
        self.logger = logger
        self.makeTurn = makeTurn
    }

    func run() async throws {
        // Waiting for other processes blocks. Nothing waits for the thread's end, which a peer could delay.
        let thread = OwnedThread(name: "lock")
        guard var held = try await search(.start, on: thread) else { return }
        exporter.start()
        while true {
            switch try await collect(&held, on: thread) {
            case .shutDown: return
            case .kept(let events): held.events = events
            case .handedOver:
                guard let next = try await search(.standBy, on: thread) else { return }
                held = next
            }
        }
    }

    /// The lock, and the event socket of its previous holder.
    private struct Held {
        var lock: InstanceLock
        var events: Descriptor?
    }

    private func search(_ purpose: LockSearch.Purpose, on thread: OwnedThread) async throws -> Held? {
        let search = try LockSearch(configuration, for: purpose)
        do {
            let found = try await withTaskCancellationOrGracefulShutdownHandler {
                try await thread.run { try search.run() }
            } onCancelOrGracefulShutdown: {
                search.interrupt()
            }
            return found.map { report($0, purpose) }
        } catch let refusal as Refusal {
            throw AnotherAgent(refusal, lock: configuration.name)
        }
    }

    private func report(_ found: LockSearch.Found, _ purpose: LockSearch.Purpose) -> Held {
        switch found {
        case .lock(let lock):
            if purpose == .standBy { logger.notice("the agent that took over has ended: resuming collection") }
            return Held(lock: lock)
        case .successor(let lock, let events):
            logger.notice("took over from the previous agent, with its pending conntrack events")
            return Held(lock: lock, events: events)
        case .squatter(let squatter, let lock):
            selfCheck.report(.instanceLock, squatter.problem(lock: configuration.name))
            return Held(lock: lock)
        }
    }

    private enum End {
        case shutDown
        case handedOver
        /// The successor ended before it confirmed; this process still has the event socket.
        case kept(Descriptor?)
    }

    /// Collects until the daemon shuts down or a successor asks for the lock.
    private func collect(_ held: inout Held, on thread: OwnedThread) async throws -> End {
        let turn = try await makeTurn(held.events)
        held.events = nil
        let lock = held.lock
        let services = Daemon.makeGroup(turn.services, logger: logger)
        // Not a promise of the event loop, which may have ended when the thread is done.
        let (outcomes, outcome) = AsyncStream.makeStream(of: InstanceLock.Outcome.self)
        thread.submit {
            outcome.yield(lock.serve { report($0, services) })
            outcome.finish()
        }
        do {
            try await withTaskCancellationOrGracefulShutdownHandler {
                try await services.run()
            } onCancelOrGracefulShutdown: {
                lock.stop()
            }
        } catch {
            lock.offer(nil)
            throw error
        }
        let isShuttingDown = Task.isShuttingDownGracefully
        let events = turn.duplicateEventSocket()
        lock.offer(events)
        let deadline = group.next().scheduleTask(in: Self.handoverTime) { outcome.finish() }
        // In a task of its own, because the handover goes on if this task is cancelled.
        let end = await Task { await outcomes.first { _ in true } }.value
        deadline.cancel()
        guard let end else { throw HandoverTimedOut() }
        let hasHandedOver = end == .handedOver
        if hasHandedOver {
            logger.notice(
                isShuttingDown
                    ? "handed over to a successor agent"
                    : "handed over to a successor agent; standing by until it ends")
        }
        if isShuttingDown { return .shutDown }
        return hasHandedOver ? .handedOver : .kept(events)
    }

    private func report(_ event: InstanceLock.Event, _ services: ServiceGroup) {
        switch event {
        case .successor(let peer):
            logger.notice("an agent of this workload has started: handing over to it", metadata: ["peer": "\(peer)"])
            Task { await services.triggerGracefulShutdown() }
        case .otherAgent(let peer, let workload):
            logger.warning(
                "another agent waits to collect in this network namespace: run one agent per node",
                metadata: ["peer": "\(peer)", "workload": "\(workload)"])
        case .acquired: selfCheck.report(.instanceLock, nil)
        }
    }
}

/// The error of a turn that cannot end because of a successor, or another process connected to the lock's socket.
private struct HandoverTimedOut: Error, CustomStringConvertible {
    let description =
        "handover timed out: a process connected to the lock's socket did not complete it; exiting to be restarted"
}

/// The error of an agent that does not start beside another one.
struct AnotherAgent: Error, CustomStringConvertible {
    private let refusal: Refusal
    private let lock: String

    init(_ refusal: Refusal, lock: String) {
        self.refusal = refusal
        self.lock = lock
    }

    var description: String {
        let peer = refusal.peer.map { "\($0)" } ?? "an unknown process"
        let workload = refusal.workload.isEmpty ? "without a workload" : "of the workload \(refusal.workload)"
        let state =
            switch refusal.reason {
            case .running: "still collecting"
            case .otherVersion(let version): "still collecting, with version \(version) of the lock's protocol"
            case .stuck: "shutting down, but not finished within a minute"
            }
        return """
            another kubenetmon-agent holds the lock of this network namespace, the abstract Unix socket @\(lock): \(peer), \
            \(workload), \(state). Two agents would count ended connections twice and divide all others between them. \
            Stop the other agent, or do not start this one; agents with the same WORKLOAD_NAME replace one another
            """
    }
}

extension Squatter {
    /// Returns the text of the problem, with its remedy.
    fileprivate func problem(lock: String) -> String {
        let holder =
            peer.map { "\($0)" }
            ?? "a process that cannot be connected to (SELinux separates pods of different levels)"
        let sign =
            switch reason {
            case .otherUser: "runs as another user"
            case .silent: "does not respond"
            case .nonsense: "sends an invalid response"
            }
        return """
            the lock of this network namespace, the abstract Unix socket @\(lock), is held by \(holder), which \(sign): \
            a second agent could count the same bytes, and an update of the agent loses the bytes of connections that \
            end during it; stop that process
            """
    }
}
