// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Searches for the lock of this network namespace, until it holds the lock or must not take it.
public final class LockSearch: Sendable {
    /// The purpose of a search.
    public enum Purpose: Sendable {
        /// To start an agent: a holder of the same workload leaves for it.
        case start
        /// To stand by after a handover: the agent follows when the holder leaves or ends, whenever that is.
        case standBy
    }

    /// The result of a search.
    public enum Found: Sendable {
        /// No other agent runs here; the lock is held.
        case lock(InstanceLock)
        /// Another agent has handed over the lock and the socket on which it has received the kernel's events. It no
        /// longer reads from that socket.
        case successor(InstanceLock, events: Descriptor)
        /// Something that is not an agent holds the name. The lock takes the name once it is free.
        case squatter(Squatter, InstanceLock)
    }

    private let configuration: LockConfiguration
    private let kind: LockMessage.Kind
    private let wakeUp: WakeUp
    private let isInterrupted = Atomic(false)

    /// Creates a search without starting it.
    public init(_ configuration: LockConfiguration, for purpose: Purpose) throws(LockSocketError) {
        self.configuration = configuration
        kind = purpose == .start ? .takeOver : .standBy
        wakeUp = try WakeUp()
    }

    /// Makes the search end soon. Callable from any thread.
    public func interrupt() {
        isInterrupted.store(true, ordering: .relaxed)
        wakeUp.wake()
    }

    /// Searches on the calling thread.
    ///
    /// - Returns: The result; nil if the search was interrupted.
    /// - Throws: ``Refusal`` if another agent runs here and does not leave, ``LockSocketError``, and any error of
    ///   opening the proof.
    public func run() throws -> Found? {
        var seeker = LockSeeker(kind, user: configuration.user, times: configuration.times)
        var step = Step()
        var action = LockSeeker.Action.bind
        while !isInterrupted.load(ordering: .relaxed) {
            if case .finish(let outcome) = action { return try found(outcome, step) }
            guard let event = try perform(action, &step) else { continue }
            action = seeker.handle(event, now: .now)
        }
        return nil
    }

    /// The state of one attempt.
    private struct Step {
        var socket: LockSocket?
        var hasAsked = false
        var listener: LockSocket?
        var events: Descriptor?
    }

    /// Performs an action of the state machine. Returns nil if the thread was merely woken.
    private func perform(_ action: LockSeeker.Action, _ step: inout Step) throws -> LockSeeker.Event? {
        switch action {
        case .bind:
            step = Step()
            step.listener = try LockSocket.listen(configuration.name)
            return step.listener == nil ? .nameIsTaken : .bound
        case .connect:
            step.socket = try LockSocket.connect(configuration.name)
            return step.socket.flatMap { LockPeer(of: $0.descriptor.number) }.map { .connected($0) } ?? .notConnected
        case .request(let kind, let until):
            if !step.hasAsked {
                let message = LockMessage(kind, workload: configuration.workload)
                guard step.socket?.send(message, [try configuration.makeProof()]) == true else { return .closed }
                step.hasAsked = true
            }
            return receive(until: until, &step)
        case .receive(let until): return receive(until: until, &step)
        case .pause(let until):
            step = Step()
            _ = wakeUp.wait(for: [], until: until)
            return .now < until ? nil : .timePassed
        case .confirm:
            let message = LockMessage(.confirm, workload: configuration.workload)
            return step.socket?.send(message) == true ? .confirmed : .closed
        case .finish: return nil
        }
    }

    private func receive(until: ContinuousClock.Instant?, _ step: inout Step) -> LockSeeker.Event? {
        guard let socket = step.socket else { return .closed }
        switch socket.receive() {
        case .nothing:
            if let until, .now >= until { return .timePassed }
            _ = wakeUp.wait(for: [socket], until: until)
            return nil
        case .end: return .closed
        case .unreadable(.otherVersion(let version)): return .receivedOtherVersion(version)
        case .unreadable(.notAMessage): return .receivedNonsense
        case .message(let message, let descriptors):
            if message.kind == .grant {
                let listener = LockSocket(descriptor: descriptors[0])
                guard listener.isListening(as: configuration.name), configuration.isEventSocket(descriptors[1].number)
                else { return .receivedNonsense }
                (step.listener, step.events) = (listener, descriptors[1])
            }
            return .received(message.kind, workload: message.workload)
        }
    }

    private func found(_ outcome: LockSeeker.Outcome, _ step: Step) throws -> Found {
        switch outcome {
        case .refused(let refusal): throw refusal
        case .squatted(let squatter): return .squatter(squatter, try InstanceLock(configuration, nil))
        case .acquired: return .lock(try InstanceLock(configuration, step.listener))
        case .handedOver:
            // Makes peers that connect from now on see this process at the other end.
            try step.listener?.listen(configuration.name)
            let lock = try InstanceLock(configuration, step.listener)
            return step.events.map { .successor(lock, events: $0) } ?? .lock(lock)
        }
    }
}
