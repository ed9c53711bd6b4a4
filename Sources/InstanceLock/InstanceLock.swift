// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The lock of a network namespace, held by this process: the abstract Unix socket that it listens on.
///
/// The kernel frees the name when the socket's last descriptor is closed, however the process ends.
public final class InstanceLock: Sendable {
    /// An event while the lock is held.
    public enum Event: Sendable {
        /// A successor of this agent's workload has started: stop collecting and call ``offer(_:)``.
        case successor(LockPeer)
        /// Another agent wants to start here and has been told to wait; it gives up unless this agent leaves.
        case otherAgent(LockPeer, workload: String)
        /// The name, held by something else until now, has become free, and this process holds the lock.
        case acquired
    }

    /// The outcome of ``serve(_:)``.
    public enum Outcome: Equatable, Sendable {
        /// A successor holds the lock and the event socket.
        case handedOver
        /// There is no successor: this process still holds the lock and the event socket.
        case kept
    }

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

    /// Tells waiting agents that this agent leaves, and lets any of them succeed it. Callable from any thread.
    public func stop() {
        commands.withLock { $0.stops = true }
        wakeUp.wake()
    }

    /// Offers the waiting successor the lock and the socket on which this process has received the kernel's events and
    /// which it no longer reads. ``serve(_:)`` then returns soon: within ``LockHolder/answerTime`` for each agent that
    /// waits. Callable from any thread.
    ///
    /// - Parameter events: The event socket; nil if there is none to hand over, in which case no successor follows.
    public func offer(_ events: Descriptor?) {
        commands.withLock { $0.offer = .some(events) }
        wakeUp.wake()
    }

    /// Serves connecting agents on the calling thread, until the offer has been taken or no process waits for it.
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

    /// The connections of one call of ``serve(_:)``, driven by the ``LockHolder`` state machine.
    private struct Turn {
        private struct Connection {
            let socket: LockSocket
            let peer: LockPeer?
            var workload = ""
        }

        private let configuration: LockConfiguration
        private(set) var listener: LockSocket?
        private var nextAttempt: ContinuousClock.Instant
        private var holder: LockHolder
        private var connections: [LockHolder.PeerID: Connection] = [:]
        private var lastID = 0
        private var events: Descriptor?
        private(set) var outcome: Outcome?
        var hasAcquired = false

        init(_ configuration: LockConfiguration, _ listener: LockSocket?) {
            self.configuration = configuration
            self.listener = listener
            nextAttempt = .now + configuration.times.retry
            holder = LockHolder(workload: configuration.workload, user: configuration.user, now: .now)
        }

        mutating func stop(_ report: (Event) -> Void) { perform(holder.stop(), report) }

        mutating func offer(_ events: Descriptor?, _ report: (Event) -> Void) {
            self.events = events
            guard events != nil, listener != nil else {
                outcome = .kept
                return
            }
            // Agents that have just connected are candidates too.
            while holder.mayAccept(now: .now), accept(report) {}
            perform(holder.offer(now: .now), report)
        }

        /// Waits for the next event and handles it.
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
            nextAttempt = .now + configuration.times.retry
            listener = (try? LockSocket.listen(configuration.name)).flatMap { $0 }
            hasAcquired = listener != nil
        }

        /// Accepts a connection. Returns false if none waits.
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
                // The peer has not confirmed, and what it sends from now on fails.
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
