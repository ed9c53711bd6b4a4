// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@testable import FlowIngest

private typealias Machine = AgentConnectionStateMachine

@Suite struct AgentConnectionStateMachineTests {
    @Test("every event has its action and its next state in every situation", arguments: Situation.allCases)
    fileprivate func everyEvent(_ situation: Situation) {
        for event in Event.allCases {
            var machine = Machine.at(situation)
            let before = machine.state.name
            let actions = machine.handle(event)
            let expected = Outcome.expected(of: event, in: situation)
            #expect(actions == expected.actions, "\(event)")
            #expect(machine.state.name == expected.state ?? before, "\(event)")
        }
    }

    @Test("every situation ends in closed, and nothing has an action from then on", arguments: Situation.allCases)
    fileprivate func end(_ situation: Situation) {
        var machine = Machine.at(situation)
        _ = machine.closeRequested()
        #expect(machine.state.name == (situation == .closed ? "closed" : "closing"))
        _ = machine.disconnected()
        for event in Event.allCases {
            #expect(machine.handle(event) == [], "\(event)")
            #expect(machine.state.name == "closed")
        }
    }

    @Test("without an authenticator, Hello admits the agent, without its token and addresses")
    func admissionByHello() {
        var machine = Machine.connected(examinesAgents: false)
        let action = machine.helloReceived(.test(token: "secret"), from: "192.0.2.1", at: .second(0))
        #expect(action.outline == ["admit node-a", "start deadline 300"])
        guard case .admitted(let agent) = machine.state else {
            Issue.record("\(machine.state)")
            return
        }
        #expect(agent.hello == .test() && agent.remoteAddress == "192.0.2.1")
    }

    @Test("the authenticator gets the token, and the agent's state does not")
    func tokenForAuthenticator() {
        var machine = Machine.connected()
        let hello = Hello.test(token: "secret", hostAddresses: [.one])
        guard case .all(let actions) = machine.helloReceived(hello, from: "192.0.2.1", at: .second(0)),
            case .examine(let examined)? = actions.last, case .examining(let agent, let hostAddresses) = machine.state
        else {
            Issue.record("\(machine.state)")
            return
        }
        #expect(examined == hello && agent.hello == .test() && hostAddresses == [.one])
    }

    // MARK: - Timers

    @Test(
        "the age is the server's, ±10 %, or leaves the departure deadline or half of the token's lifetime",
        arguments: [(nil, 1_000), (2_000, 1_000), (600, 510), (100, 50)] as [(Int64?, Int64)])
    func age(lifetime: Int64?, expected: Int64) throws {
        var ages: Set<Int64> = []
        for seed in 0..<100 as Range<UInt64> {
            var machine = Machine.connected(maximumAge: .seconds(1_000), seed: seed)
            _ = machine.helloReceived(.test(), from: "192.0.2.1", at: .second(0))
            let verdict = AgentVerdict.admitted(lifetime: lifetime.map { .seconds($0) })
            let age = try #require(machine.examined(verdict, at: .second(0), .open).delay(of: .age))
            ages.insert(age.nanoseconds / 1_000_000)
        }
        if expected == 1_000 {
            #expect(ages.allSatisfy { (900_000...1_100_000).contains($0) } && ages.count > 90)
        } else {
            #expect(ages == [expected * 1_000])
        }
    }

    @Test("an agent is late when the time since its last frame reaches the limit")
    func idle() {
        var machine = Machine.at(.admitted)
        #expect(machine.frameReceived(ByteBuffer(), at: .second(200), .open).outline == ["decode 0"])
        #expect(machine.timerFired(.deadline, at: .second(300), .open).outline == ["start deadline 200"])
        #expect(machine.timerFired(.deadline, at: .second(499), .open).outline == ["start deadline 1"])
        #expect(machine.timerFired(.deadline, at: .second(500), .open).outline == ["fail idle of node-a"])
    }

    @Test("an agent is not late while the server does not read, but while it drains nothing")
    func idleWhilePaused() {
        var machine = Machine.at(.admittedShut)
        #expect(machine.timerFired(.deadline, at: .second(1_000), .shut).outline == ["start deadline 300"])
        #expect(machine.readMayResume(at: .second(2_000), .open).outline == ["read"])
        #expect(machine.timerFired(.deadline, at: .second(2_100), .open).outline == ["start deadline 200"])
        #expect(machine.readRequested(at: .second(2_100), .full).outline == [])
        #expect(machine.timerFired(.deadline, at: .second(2_300), .full).outline == ["fail idle of node-a"])
    }

    @Test("of several address updates in one second, the newest is passed on")
    func addressUpdates() {
        var machine = Machine.at(.admitted)
        #expect(machine.hostAddressesReceived([.one]).outline == ["update addresses 1", "start addressUpdate 1"])
        #expect(machine.hostAddressesReceived([.one, .one]).outline == [])
        #expect(machine.hostAddressesReceived([.one, .one, .one]).outline == [])
        let update = ["update addresses 3", "start addressUpdate 1"]
        #expect(machine.timerFired(.addressUpdate, at: .second(1), .open).outline == update)
        #expect(machine.timerFired(.addressUpdate, at: .second(2), .open).outline == [])
        #expect(machine.hostAddressesReceived([]).outline == ["update addresses 0", "start addressUpdate 1"])
    }

    @Test("addresses in Hello are the first update")
    func addressesInHello() {
        var machine = Machine.connected()
        _ = machine.helloReceived(.test(hostAddresses: [.one]), from: "192.0.2.1", at: .second(0))
        let admission = ["admit node-a", "update addresses 1", "start addressUpdate 1", "start deadline 300"]
        #expect(machine.examined(.admitted(), at: .second(0), .open).outline == admission)
        #expect(machine.hostAddressesReceived([]).outline == [])
    }

    // MARK: - Waiting frames

    @Test("frames wait during the examination, in order and up to the limit")
    func waitingDuringExamination() {
        var machine = Machine.at(.examining)
        for number in 0..<Machine.maximumWaiting {
            let frame = number.isMultiple(of: 2) ? ByteBuffer.numbered(number) : ByteBuffer()
            #expect(machine.frameReceived(frame, at: .second(0), .open).outline == [])
        }
        var crowded = machine
        #expect(crowded.frameReceived(ByteBuffer(), at: .second(0), .open).outline == ["fail too_many_waiting"])
        #expect(crowded.waitingFrames == 0)
        let admission = ["admit node-a", "start deadline 300", "decode waiting frames"]
        #expect(machine.examined(.admitted(), at: .second(0), .open).outline == admission)
        for number in 0..<Machine.maximumWaiting {
            let length = number.isMultiple(of: 2) ? 8 : 0
            #expect(machine.nextWaitingFrame(.open).outline == ["decode \(length)"])
        }
        #expect(machine.nextWaitingFrame(.open).outline == ["read"])
    }

    @Test("while reading is paused, heartbeats do not wait, and a peer that has gone fills the limit")
    func waitingWhilePaused() {
        var machine = Machine.at(.admittedShut)
        for number in 0..<Machine.maximumWaiting {
            _ = machine.frameReceived(.numbered(number), at: .second(0), .shut)
            _ = machine.frameReceived(ByteBuffer(), at: .second(0), .shut)
        }
        #expect(machine.waitingFrames == Machine.maximumWaiting)
        #expect(machine.frameReceived(.numbered(0), at: .second(0), .shut).outline == ["close"])
        #expect(machine.state.name == "closing" && machine.waitingFrames == 0)
        #expect(machine.disconnected().outline == ["end node-a"])
    }

    @Test("batches in flight are withdrawn if the agent has said that it leaves, and else kept")
    func leaving() {
        var machine = Machine.at(.admittedFull)
        #expect(machine.frameReceived(ByteBuffer(bytes: [0x22, 0]), at: .second(0), .shut).outline == ["decode 2"])
        machine.leavingReceived()
        #expect(machine.disconnected().outline == ["withdraw [1, 2] of node-a", "end node-a"])
        machine = .at(.admittedFull)
        #expect(machine.disconnected().outline == ["end node-a"])
    }

    @Test("decoding pauses in the middle of the waiting frames")
    func pauseWhileDecoding() {
        var machine = Machine.at(.admittedShut)
        for number in 0..<5 { _ = machine.frameReceived(.numbered(number), at: .second(0), .shut) }
        #expect(machine.readMayResume(at: .second(1), .open).outline == ["decode waiting frames"])
        for sequence in 0..<2 as Range<UInt64> {
            #expect(machine.nextWaitingFrame(.open).outline == ["decode 8"])
            _ = machine.batchReceived(sequence, at: .second(0))
        }
        // Two batches are the limit of batches in flight.
        #expect(machine.nextWaitingFrame(.open).outline == [])
        #expect(machine.isReadPaused && machine.waitingFrames == 3)
        #expect(machine.acknowledged([0], at: .second(2), .open).outline == ["decode waiting frames"])
        #expect(machine.nextWaitingFrame(.shut).outline == [])
        #expect(machine.readMayResume(at: .second(3), .shut).outline == [])
        #expect(machine.waitingFrames == 3)
    }

    @Test("a frame that arrives while waiting frames are decoded does not overtake them")
    func overtaking() {
        var machine = Machine.at(.admittedShut)
        for number in 0..<2 { _ = machine.frameReceived(.numbered(number), at: .second(0), .shut) }
        _ = machine.readMayResume(at: .second(1), .open)
        var decoded: [Int] = []
        for _ in 0..<2 {
            decoded += machine.nextWaitingFrame(.open).decodedNumbers
            decoded += machine.frameReceived(.numbered(2), at: .second(1), .open).decodedNumbers
        }
        while let number = machine.nextWaitingFrame(.open).decodedNumbers.first { decoded.append(number) }
        #expect(decoded == [0, 1, 2, 2])
    }
}

// MARK: - Every event in every situation

/// A situation that an event may meet, reached by events.
private enum Situation: CaseIterable {
    case handshake, awaitingHello
    /// Reading is paused since the first read.
    case awaitingHelloShut
    /// The deadline for `Hello` has passed while reading is paused.
    case awaitingReading
    case examining, examiningPaused, admitted
    /// The limit of batches in flight is reached, and reading is paused.
    case admittedFull
    /// Reading is paused because batches cannot be stored.
    case admittedShut
    case closing
    /// Reading was paused when the connection failed.
    case closingPaused
    case closingUnadmitted, closed
}

private enum Event: CaseIterable {
    case connected, handshakeCompleted
    case frame, frameWhileShut, nextFrame, nextFrameWhileShut, batch, hostAddresses
    case hello, helloOfOtherVersion, helloWithoutNode
    case verdictAdmitted, verdictAdmittedForAnHour, verdictRefused, verdictUndecided
    case deadline, heartbeat, heartbeatWhileFull, age, ageWhileShut, departure, tokenExpiry, addressUpdate
    case readRequest, readRequestWhileShut, resumption, resumptionWhileFull, acknowledgement
    case departureRequest, unfinishedFrames, eviction, error, closeRequest, disconnection
}

/// The outline of an event's action, and the next state if it is another.
private struct Outcome {
    var actions: [String] = []
    var state: String?

    init(_ actions: String..., to state: String? = nil) {
        self.actions = actions
        self.state = state
    }

    /// Returns the failure of a connection with an admitted agent.
    static func failure(_ reason: String) -> Outcome { Outcome("fail \(reason) of node-a", to: "closing") }

    /// Returns the failure of a connection without an admitted agent.
    static func unadmittedFailure(_ reason: String) -> Outcome { Outcome("fail \(reason)", to: "closing") }

    static func expected(of event: Event, in situation: Situation) -> Outcome {
        switch situation {
        case .handshake: handshake(event)
        case .awaitingHello: awaitingHello(event, isPaused: false)
        case .awaitingHelloShut, .awaitingReading:
            switch event {
            case .deadline where situation == .awaitingHelloShut: Outcome("start deadline 300", to: "awaiting reading")
            case .deadline: unadmittedFailure("not_read")
            default: awaitingHello(event, isPaused: true)
            }
        case .examining: examining(event, isPaused: false)
        case .examiningPaused: examining(event, isPaused: true)
        case .admitted: admitted(event)
        case .admittedFull, .admittedShut: admittedPaused(event, isFull: situation == .admittedFull)
        case .closing, .closingPaused, .closingUnadmitted: closing(event, situation)
        case .closed: Outcome()
        }
    }

    private static func handshake(_ event: Event) -> Outcome {
        switch event {
        case .connected: Outcome("start deadline 3")
        case .handshakeCompleted: Outcome("start deadline 7", "start heartbeat 15", to: "awaiting Hello")
        case .frame, .frameWhileShut, .batch, .hostAddresses: unadmittedFailure("unexpected_message")
        case .nextFrame, .nextFrameWhileShut, .readRequest, .readRequestWhileShut: Outcome("read")
        case .hello: Outcome("cancel deadline", "examine node-a", to: "examining")
        case .deadline: unadmittedFailure("tls_timeout")
        default: beforeAdmission(event)
        }
    }

    private static func awaitingHello(_ event: Event, isPaused: Bool) -> Outcome {
        switch event {
        case .connected: Outcome("start deadline 7", "start heartbeat 15")
        case .frame where !isPaused: Outcome("decode 8")
        case .nextFrame: Outcome("read")
        case .batch, .hostAddresses: unadmittedFailure("unexpected_message")
        case .hello: Outcome("cancel deadline", "examine node-a", to: "examining")
        case .deadline: unadmittedFailure("no_hello")
        case .heartbeat: Outcome("start heartbeat 15", "write heartbeat")
        case .heartbeatWhileFull: Outcome("start heartbeat 15")
        case .readRequest where !isPaused: Outcome("read")
        case .readRequest, .resumption, .acknowledgement:
            isPaused
                ? Outcome("start deadline 7", "decode waiting frames", to: "awaiting Hello") : Outcome()
        default: beforeAdmission(event, isPaused: isPaused)
        }
    }

    private static func beforeAdmission(_ event: Event, isPaused: Bool = false) -> Outcome {
        switch event {
        case .helloOfOtherVersion:
            Outcome("write goAway version 1", "fail unsupported_version", to: "closing")
        case .helloWithoutNode: unadmittedFailure("no_node_name")
        default: always(event, isPaused: isPaused)
        }
    }

    private static func always(_ event: Event, isPaused: Bool, agent: String = "") -> Outcome {
        switch event {
        case .departureRequest: Outcome("write goAway")
        case .unfinishedFrames: Outcome("fail unfinished_frames\(agent)", to: "closing")
        case .eviction: Outcome("fail too_many_connections\(agent)", to: "closing")
        case .error: Outcome("fail connection_lost\(agent)", to: "closing")
        case .closeRequest: isPaused ? Outcome("read", to: "closing") : Outcome(to: "closing")
        case .disconnection: Outcome(agent.isEmpty ? "end" : "end node-a", to: "closed")
        default: Outcome()
        }
    }

    private static func examining(_ event: Event, isPaused: Bool) -> Outcome {
        let resumption = isPaused ? ["read"] : []
        var outcome =
            switch event {
            case .batch, .hostAddresses, .hello, .helloOfOtherVersion, .helloWithoutNode:
                unadmittedFailure("unexpected_message")
            case .verdictAdmitted: Outcome("admit node-a", "start deadline 300", to: "admitted")
            case .verdictAdmittedForAnHour:
                Outcome(
                    "admit node-a", "start deadline 300", "start tokenExpiry 3600", "start age 3510", to: "admitted")
            case .verdictRefused: Outcome("write refusal", "fail wrong_token of unadmitted node-a", to: "closing")
            case .verdictUndecided: Outcome("write goAway", "fail no_answer of unadmitted node-a", to: "closing")
            case .heartbeat: Outcome("start heartbeat 15", "write heartbeat")
            case .heartbeatWhileFull: Outcome("start heartbeat 15")
            default: always(event, isPaused: isPaused)
            }
        if outcome.state == "admitted" { outcome.actions += resumption }
        return outcome
    }

    private static func admitted(_ event: Event) -> Outcome {
        switch event {
        case .frame: Outcome("decode 8")
        case .nextFrame, .readRequest: Outcome("read")
        default: admitted(event, isPaused: false)
        }
    }

    private static func admittedPaused(_ event: Event, isFull: Bool) -> Outcome {
        switch event {
        case .nextFrame, .readRequest, .resumption: isFull ? Outcome() : Outcome("read")
        case .acknowledgement: Outcome("read")
        case .age where isFull: Outcome("start age 10")
        case .departure where isFull: Outcome("start age 10")
        default: admitted(event, isPaused: true)
        }
    }

    private static func admitted(_ event: Event, isPaused: Bool) -> Outcome {
        switch event {
        case .batch: Outcome("take from node-a")
        case .hostAddresses: Outcome("update addresses 1", "start addressUpdate 1")
        case .hello, .helloOfOtherVersion, .helloWithoutNode: failure("unexpected_message")
        // The agent has been silent for 100 s, unless the server did not read it.
        case .deadline: Outcome(isPaused ? "start deadline 300" : "start deadline 200")
        case .heartbeat: Outcome("start heartbeat 15", "write heartbeat")
        case .heartbeatWhileFull: Outcome("start heartbeat 15")
        case .age: Outcome("count aged", "start departure 90", "write goAway")
        case .ageWhileShut: Outcome("start age 10")
        case .departure: failure("stayed")
        case .tokenExpiry: failure("token_expired")
        default: always(event, isPaused: isPaused, agent: " of node-a")
        }
    }

    private static func closing(_ event: Event, _ situation: Situation) -> Outcome {
        switch event {
        case .nextFrame, .nextFrameWhileShut, .readRequest, .readRequestWhileShut: Outcome("read")
        case .resumption, .resumptionWhileFull, .acknowledgement, .closeRequest:
            situation == .closingPaused ? Outcome("read") : Outcome()
        case .disconnection: Outcome(situation == .closingUnadmitted ? "end" : "end node-a", to: "closed")
        default: Outcome()
        }
    }
}

extension AgentConnectionStateMachine {
    fileprivate static func at(_ situation: Situation) -> Self {
        var machine = connected(isEncrypted: situation == .handshake)
        switch situation {
        case .handshake, .awaitingHello: break
        case .awaitingHelloShut:
            _ = machine.readRequested(at: .second(0), .shut)
        case .awaitingReading:
            machine = .at(.awaitingHelloShut)
            _ = machine.timerFired(.deadline, at: .second(7), .shut)
        case .examining:
            _ = machine.helloReceived(.test(), from: "192.0.2.1", at: .second(0))
        case .examiningPaused:
            machine = .at(.examining)
            _ = machine.readRequested(at: .second(0), .open)
        case .admitted:
            machine = .at(.examining)
            _ = machine.examined(.admitted(), at: .second(0), .open)
        case .admittedFull:
            machine = .at(.admitted)
            for sequence in 1...2 as ClosedRange<UInt64> { _ = machine.batchReceived(sequence, at: .second(0)) }
            _ = machine.readRequested(at: .second(0), .open)
        case .admittedShut:
            machine = .at(.admitted)
            _ = machine.readRequested(at: .second(0), .shut)
        case .closing:
            machine = .at(.admitted)
            _ = machine.failed(ConnectionError.expired)
        case .closingPaused:
            machine = .at(.admittedShut)
            _ = machine.failed(ConnectionError.expired)
        case .closingUnadmitted:
            machine = .at(.examining)
            _ = machine.failed(ConnectionError.expired)
        case .closed:
            machine = .at(.admitted)
            _ = machine.disconnected()
        }
        return machine
    }

    /// Handles an event 100 s after the situation was reached, and returns the outline of its action.
    fileprivate mutating func handle(_ event: Event) -> [String] {
        let now = NIODeadline.second(100)
        return switch event {
        case .connected: connected(at: now).outline
        case .handshakeCompleted: handshakeCompleted().outline
        case .frame: frameReceived(.numbered(1), at: now, .open).outline
        case .frameWhileShut: frameReceived(.numbered(1), at: now, .shut).outline
        case .nextFrame: nextWaitingFrame(.open).outline
        case .nextFrameWhileShut: nextWaitingFrame(.shut).outline
        case .batch: batchReceived(7, at: now).outline
        case .hostAddresses: hostAddressesReceived([.one]).outline
        case .hello: helloReceived(.test(), from: "192.0.2.1", at: now).outline
        case .helloOfOtherVersion: helloReceived(.test(version: 2), from: "192.0.2.1", at: now).outline
        case .helloWithoutNode: helloReceived(.test(node: ""), from: "192.0.2.1", at: now).outline
        case .verdictAdmitted: examined(.admitted(), at: now, .open).outline
        case .verdictAdmittedForAnHour: examined(.admitted(lifetime: .seconds(3_600)), at: now, .open).outline
        case .verdictRefused:
            examined(.refused(reason: "wrong_token", explanation: "another token"), at: now, .open).outline
        case .verdictUndecided:
            examined(.undecided(reason: "no_answer", explanation: "later"), at: now, .open).outline
        case .deadline: timerFired(.deadline, at: now, .open).outline
        case .heartbeat: timerFired(.heartbeat, at: now, .shut).outline
        case .heartbeatWhileFull: timerFired(.heartbeat, at: now, .full).outline
        case .age: timerFired(.age, at: now, .open).outline
        case .ageWhileShut: timerFired(.age, at: now, .shut).outline
        case .departure: timerFired(.departure, at: now, .open).outline
        case .tokenExpiry: timerFired(.tokenExpiry, at: now, .open).outline
        case .addressUpdate: timerFired(.addressUpdate, at: now, .open).outline
        case .readRequest: readRequested(at: now, .open).outline
        case .readRequestWhileShut: readRequested(at: now, .shut).outline
        case .resumption: readMayResume(at: now, .open).outline
        case .resumptionWhileFull: readMayResume(at: now, .full).outline
        case .acknowledgement: acknowledged([1], at: now, .open).outline
        case .departureRequest: departureRequested(reason: "restart").outline
        case .unfinishedFrames: unfinishedFramesExceeded().outline
        case .eviction: evicted().outline
        case .error: failed(ChannelError.eof).outline
        case .closeRequest: closeRequested().outline
        case .disconnection: disconnected().outline
        }
    }
}
