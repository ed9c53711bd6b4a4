// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The lock of a network namespace in the hands of this process: the abstract Unix socket that it listens on.
///
/// The kernel frees the name with the last descriptor of it, whatever ends the process.
public final class InstanceLock: Sendable {
    /// What happens while the lock is held.
    public enum Event: Sendable {
        /// A successor of this agent's workload has started: stop collecting and call ``offer(_:)``.
        case successor(LockPeer)
        /// Another agent wants to start here and has been told to wait; it gives up unless this one leaves.
        case otherAgent(LockPeer, workload: String)
        /// The name that something else had is free, and the lock is held.
        case acquired
    }

    /// How a turn ends.
    public enum Outcome: Equatable, Sendable {
        /// A successor has the lock and the event socket.
        case handedOver
        /// There is no successor: the lock and the event socket are still here.
        case kept
    }

    /// Between two attempts to get a name that something else has.
    private static let retryTime: Duration = .seconds(10)

    private struct Commands {
        var stops = false
        var offer: Descriptor??
    }

    private let configuration: LockConfiguration
    private let wakeUp: WakeUp
    private let listener: Mutex<LockSocket?>
    private let commands = Mutex(Commands())

    init(_ configuration: LockConfiguration, _ listener: LockSocket?) throws(LockSocketError) {
        self.configuration = configuration
        self.listener = Mutex(listener)
        wakeUp = try WakeUp()
    }

    /// Tells those who wait that this agent leaves, and lets any of them follow. Callable from any thread.
    public func stop() {
        commands.withLock { $0.stops = true }
        wakeUp.wake()
    }

    /// Offers the lock, and the socket on which this process has heard the kernel's events and from which it reads no more,
    /// to the waiting successor. ``serve(_:)`` then returns soon: within ``LockHolder/answerTime`` of the last that waits. Callable
    /// from any thread.
    ///
    /// - Parameter events: The event socket; nil where there is none to hand over; no successor follows then.
    public func offer(_ events: Descriptor?) {
        commands.withLock { $0.offer = .some(events) }
        wakeUp.wake()
    }

    /// Answers those who connect, on the calling thread, until what is offered has been taken or no process waits for it.
    public func serve(_ report: (Event) -> Void) -> Outcome {
        var turn = Turn(configuration, listener.withLock { $0 })
        while true {
            let commands = self.commands.withLock { commands in
                defer { commands.offer = nil }
                return commands
            }
            if commands.stops { turn.stop(report) }
            if let events = commands.offer { turn.offer(events, report) }
            if let outcome = turn.outcome {
                if outcome == .handedOver { listener.withLock { $0 = nil } }
                return outcome
            }
            turn.step(wakeUp, report)
            if turn.hasAcquired {
                turn.hasAcquired = false
                listener.withLock { $0 = turn.listener }
                report(.acquired)
            }
        }
    }

    /// The connections of one turn and what the machine makes of them.
    private struct Turn {
        private struct Connection {
            let socket: LockSocket
            let peer: LockPeer?
            var workload = ""
        }

        private let configuration: LockConfiguration
        private(set) var listener: LockSocket?
        private var nextAttempt = ContinuousClock.now + retryTime
        private var holder: LockHolder
        private var connections: [LockHolder.PeerID: Connection] = [:]
        private var lastID = 0
        private var events: Descriptor?
        private(set) var outcome: Outcome?
        var hasAcquired = false

        init(_ configuration: LockConfiguration, _ listener: LockSocket?) {
            self.configuration = configuration
            self.listener = listener
            holder = LockHolder(workload: configuration.workload, user: configuration.user, now: .now)
        }

        mutating func stop(_ report: (Event) -> Void) { perform(holder.stop(), report) }

        mutating func offer(_ events: Descriptor?, _ report: (Event) -> Void) {
            self.events = events
            guard events != nil, listener != nil else {
                outcome = .kept
                return
            }
            // Those that have connected just now are asked too.
            while holder.mayAccept(now: .now), accept(report) {}
            perform(holder.offer(now: .now), report)
        }

        /// Waits for the next thing that happens and answers it.
        mutating func step(_ wakeUp: WakeUp, _ report: (Event) -> Void) {
            let accepting = holder.mayAccept(now: .now) ? listener : nil
            let ids = Array(connections.keys)
            let sockets = ids.compactMap { connections[$0]?.socket } + (accepting.map { [$0] } ?? [])
            let attempt = listener == nil ? nextAttempt : nil
            let isReady = wakeUp.wait(for: sockets, until: [holder.deadline, attempt].compactMap { $0 }.min())
            for (id, isReady) in zip(ids, isReady) where isReady { receive(id, report) }
            if accepting != nil, isReady.last == true { _ = accept(report) }
            perform(holder.passed(.now), report)
            if listener == nil, .now >= nextAttempt { acquire() }
        }

        private mutating func acquire() {
            nextAttempt = .now + retryTime
            listener = (try? LockSocket.listen(configuration.name)).flatMap { $0 }
            hasAcquired = listener != nil
        }

        /// Returns false where no process waits.
        private mutating func accept(_ report: (Event) -> Void) -> Bool {
            let socket: LockSocket
            do throws(LockSocketError) {
                guard let accepted = try listener?.accept() else { return false }
                socket = accepted
            } catch {
                holder.couldNotAccept(now: .now)
                return false
            }
            lastID += 1
            let peer = LockPeer(of: socket.descriptor.number)
            connections[lastID] = Connection(socket: socket, peer: peer)
            perform(holder.connected(lastID, peer, now: .now), report)
            return true
        }

        private mutating func receive(_ id: LockHolder.PeerID, _ report: (Event) -> Void) {
            switch connections[id]?.socket.receive() {
            case nil, .nothing: break
            case .end, .unreadable: perform(holder.closed(id), report)
            case .message(let message, let descriptors):
                connections[id]?.workload = message.workload
                let isAuthorized = descriptors.first.map { configuration.isEventSocket($0.number) } ?? false
                perform(holder.received(message, isAuthorized: isAuthorized, from: id), report)
            }
        }

        private mutating func perform(_ actions: [LockHolder.Action], _ report: (Event) -> Void) {
            for action in actions { perform(action, report) }
        }

        private mutating func perform(_ action: LockHolder.Action, _ report: (Event) -> Void) {
            switch action {
            case .close(let id): connections[id] = nil
            case .reply(let kind, let id):
                if !send(kind, to: id) { perform(holder.closed(id), report) }
            case .leave(let peer): report(.successor(peer))
            case .reportWaiting(let id):
                if let connection = connections[id], let peer = connection.peer {
                    report(.otherAgent(peer, workload: connection.workload))
                }
            case .grant(let id):
                let descriptors = [listener?.descriptor, events].compactMap { $0 }
                if !send(.grant, descriptors, to: id) { perform(holder.closed(id), report) }
            case .revoke(let id):
                connections[id]?.socket.stopReceiving()
                receive(id, report)
                // It has not confirmed, and what it sends from now on fails.
                if outcome == nil { perform(holder.closed(id), report) }
            case .finish(let outcome):
                self.outcome = outcome
                connections = [:]
            }
        }

        private func send(
            _ kind: LockMessage.Kind, _ descriptors: [Descriptor] = [], to id: LockHolder.PeerID
        ) -> Bool {
            connections[id]?.socket.send(LockMessage(kind, workload: configuration.workload), descriptors) ?? false
        }
    }
}
