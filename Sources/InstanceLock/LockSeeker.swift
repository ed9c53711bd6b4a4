// SPDX-License-Identifier: Apache-2.0

/// The state machine of an agent that wants the lock. It does no I/O; each event returns the next action.
///
/// A starting agent waits for a holder that leaves. If the holder goes on, the agent waits for ten seconds and then
/// refuses to start. Something that is not an agent delays the start no longer than that either. An agent that has
/// handed over waits without limit.
struct LockSeeker {
    typealias Instant = ContinuousClock.Instant

    enum Event: Equatable {
        case bound
        case nameIsTaken
        case connected(LockPeer)
        /// Nothing listens under the name, the listener has no room for another connection, or this process may not
        /// connect.
        case notConnected
        case received(LockMessage.Kind, workload: String)
        case receivedOtherVersion(UInt8)
        /// Something that is not a message, or a grant without the lock and an event socket.
        case receivedNonsense
        case closed
        case confirmed
        /// The deadline of the last action has passed.
        case timePassed
    }

    enum Action: Equatable {
        case bind
        case connect
        /// Send a request and wait for the response until then.
        case request(LockMessage.Kind, until: Instant)
        /// Wait for the next message until then; without limit if nil.
        case receive(until: Instant?)
        /// Close the connection and wait until then.
        case pause(until: Instant)
        case confirm
        case finish(Outcome)
    }

    enum Outcome: Equatable {
        /// There was no holder.
        case acquired
        /// The holder has handed over.
        case handedOver
        /// Something that is not an agent holds the name.
        case squatted(Squatter)
        case refused(Refusal)
    }

    /// The pauses between two attempts: short if a holder has just gone, long if something is in the way.
    static let (shortPause, longPause) = (Duration.milliseconds(20), Duration.milliseconds(500))

    private enum Phase {
        case trying
        case asked
        case told(isLeaving: Bool)
        case pausing
    }

    private let kind: LockMessage.Kind
    private let user: UInt32
    private let times: LockTimes
    private var phase = Phase.trying
    private var holder: LockPeer?
    private var squattedSince: Instant?
    private var otherAgentSince: Instant?
    private var holderWorkload = ""

    /// - Parameters:
    ///   - kind: ``LockMessage/Kind/takeOver`` for an agent that starts, ``LockMessage/Kind/standBy`` for one that has
    ///     handed over.
    ///   - user: The user that agents run as.
    ///   - times: The times to wait for others.
    init(_ kind: LockMessage.Kind, user: UInt32, times: LockTimes = LockTimes()) {
        self.kind = kind
        self.user = user
        self.times = times
    }

    mutating func handle(_ event: Event, now: Instant) -> Action {
        switch event {
        case .bound: return .finish(.acquired)
        case .nameIsTaken: return .connect
        case .connected(let peer):
            holder = peer
            guard peer.user == user else { return squatted(now, .otherUser) }
            phase = .asked
            return .request(kind, until: now + times.answer)
        case .notConnected:
            holder = nil
            return squatted(now, .silent, pause: Self.shortPause)
        case .received(let kind, let workload):
            holderWorkload = workload
            return received(kind, now)
        case .receivedOtherVersion(let version):
            squattedSince = nil
            guard hasTime(now) else { return refused(.otherVersion(version)) }
            return pause(now, Self.longPause)
        case .receivedNonsense: return squatted(now, .nonsense)
        case .closed:
            // A holder that has responded before has now ended or handed over to another agent.
            if case .told = phase { return pause(now, Self.shortPause) }
            return squatted(now, .silent)
        case .confirmed: return .finish(.handedOver)
        case .timePassed: return timePassed(now)
        }
    }

    private mutating func received(_ kind: LockMessage.Kind, _ now: Instant) -> Action {
        switch kind {
        case .wait:
            phase = .told(isLeaving: false)
            let since = otherAgentSince ?? now
            otherAgentSince = since
            squattedSince = nil
            return .receive(until: self.kind == .standBy ? nil : since + times.otherAgent)
        case .leaving:
            phase = .told(isLeaving: true)
            squattedSince = nil
            return .receive(until: self.kind == .standBy ? nil : now + times.leaving)
        case .grant: return .confirm
        case .takeOver, .standBy, .confirm: return squatted(now, .nonsense)
        }
    }

    private mutating func timePassed(_ now: Instant) -> Action {
        switch phase {
        case .trying, .pausing:
            phase = .trying
            return .bind
        case .asked: return squatted(now, .silent)
        case .told(let isLeaving): return refused(isLeaving ? .stuck : .running)
        }
    }

    /// Returns whether there is time left to wait for an agent that goes on.
    private mutating func hasTime(_ now: Instant) -> Bool {
        let since = otherAgentSince ?? now
        otherAgentSince = since
        return kind == .standBy || now < since + times.otherAgent
    }

    private mutating func squatted(_ now: Instant, _ reason: Squatter.Reason, pause: Duration = longPause) -> Action {
        let since = squattedSince ?? now
        squattedSince = since
        guard now < since + times.squatter else {
            return .finish(.squatted(Squatter(peer: holder, reason: reason)))
        }
        return self.pause(now, pause)
    }

    private mutating func pause(_ now: Instant, _ duration: Duration) -> Action {
        phase = .pausing
        return .pause(until: now + duration)
    }

    private func refused(_ reason: Refusal.Reason) -> Action {
        .finish(.refused(Refusal(peer: holder, workload: holderWorkload, reason: reason)))
    }
}

/// Something that holds the lock's name and is not an agent.
public struct Squatter: Equatable, Sendable {
    /// The sign by which it was recognized.
    public enum Reason: Equatable, Sendable {
        /// It runs as another user.
        case otherUser
        /// It does not respond.
        case silent
        /// It responds with something that is not a message.
        case nonsense
    }

    /// Its process; nil if there is no connection to it, which leaves the process unknown.
    public let peer: LockPeer?
    /// The sign by which it was recognized.
    public let reason: Reason
}

/// The error of an agent that does not start beside another one.
public struct Refusal: Error, Equatable, Sendable {
    /// The state of the other agent.
    public enum Reason: Equatable, Sendable {
        /// It keeps collecting.
        case running
        /// It speaks another version of the lock's protocol.
        case otherVersion(UInt8)
        /// It has announced to leave and has not left within a minute.
        case stuck
    }

    /// The other agent's process.
    public let peer: LockPeer?
    /// The other agent's workload; empty if it has none or is unknown.
    public let workload: String
    /// The state of the other agent.
    public let reason: Reason
}
