// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@testable import FlowIngest

private typealias Machine = AgentConnectionStateMachine

@Suite struct AgentConnectionSequenceTests {
    @Test("random sequences of events keep the invariants")
    func randomSequences() {
        var (admissions, batches, mostWaiting, failures) = (0, 0, 0, 0)
        for seed in 0..<100 {
            var world = World(seed: UInt64(seed))
            for _ in 0..<300 { world.step() }
            world.finish()
            admissions += world.admissions
            batches += world.lastDecoded
            mostWaiting = max(mostWaiting, world.mostWaiting)
            failures += world.failures
        }
        // The sequences reach what they are about.
        #expect(admissions >= 50 && batches >= 2_000 && mostWaiting >= 10 && failures >= 10)
    }
}

/// A state machine, the channel, the server and the agent around it, and the invariants that must hold.
private struct World {
    /// The agent's messages; batches have numbers from 1 on.
    private enum Message {
        static let hello = 0
        static let addresses = -1
        static let malformed = -2
        /// Its frame begins as that of a confirmation, so that it does not wait.
        static let confirmation = 0x2a << 56
    }

    private let seed: UInt64
    private var generator: SeededGenerator
    private var machine: Machine
    private var now = NIODeadline.second(0)
    private var conditions = Machine.Conditions.open
    private let isEncrypted: Bool
    private let examinesAgents: Bool
    private let batchesInFlight: Int

    /// What the agent has sent and the channel has not delivered.
    private var socket: [Int] = []
    private var lastBatch = 0
    private var isReadIssued = false
    private var isHandshakeDone: Bool
    private var isHelloSent = false
    private var isChannelClosed = false
    /// The time at which each scheduled timer is due.
    private var timers: [Machine.Timer: NIODeadline] = [:]
    private var isExamined = false

    /// The batches whose block was named to the agent, and not confirmed.
    private var announced: Set<UInt64> = []
    /// The last batch that was decoded; they are decoded in order.
    private(set) var lastDecoded = 0
    private(set) var mostWaiting = 0
    /// The last batch that was acknowledged; they are acknowledged in order.
    private var lastAcknowledged = 0
    private var (examinations, ends) = (0, 0)
    private(set) var (admissions, failures) = (0, 0)
    private var isClosing = false

    init(seed: UInt64) {
        self.seed = seed
        generator = SeededGenerator(seed: seed)
        isEncrypted = Bool.random(using: &generator)
        isHandshakeDone = !isEncrypted
        examinesAgents = Bool.random(using: &generator)
        batchesInFlight = [1, 3, 1_024].randomElement(using: &generator) ?? 1
        var configuration = IngestServer.Configuration()
        configuration.limits.batchesInFlight = batchesInFlight
        if Bool.random(using: &generator) { configuration.maximumConnectionAge = .seconds(1_000) }
        if examinesAgents { configuration.authenticator = NoAuthenticator() }
        machine = Machine(configuration, isEncrypted: isEncrypted, using: &generator)
        perform(machine.connected(at: now))
        perform(machine.readRequested(at: now, conditions))
    }

    private mutating func isLucky(oneIn count: Int) -> Bool { Int.random(in: 0..<count, using: &generator) == 0 }

    mutating func step() {
        now = now + .milliseconds(.random(in: 0...500, using: &generator))
        mostWaiting = max(mostWaiting, machine.waitingFrames)
        switch Int.random(in: 0..<26, using: &generator) {
        case 0: conditions.isGateOpen.toggle()
        case 1: conditions.isWritable.toggle()
        case 2, 3: perform(machine.readMayResume(at: now, conditions))
        case 4: if !isHandshakeDone { completeHandshake() }
        case 5...10: send()
        case 11...16: deliver()
        case 17: if isExamined { settle() }
        case 18, 19: acknowledge()
        case 20: fireNextTimer()
        case 21: if isLucky(oneIn: 20) { perform(machine.departureRequested(reason: "restart")) }
        case 22: if isLucky(oneIn: 40) { fail() }
        case 23: announce()
        case 24: if !announced.isEmpty { socket.append(Message.confirmation) }
        default: if isLucky(oneIn: 40) { disconnect() }
        }
        #expect(violations == [], "seed \(seed)")
    }

    /// Whether the server has nothing left to do for the agent.
    private var isDone: Bool {
        isClosing || isChannelClosed
            || socket.isEmpty && machine.waitingFrames == 0 && lastAcknowledged == lastDecoded && !isExamined
    }

    /// Lets the server store everything, and then closes the channel.
    mutating func finish() {
        conditions = .open
        if !isHandshakeDone { completeHandshake() }
        for _ in 0..<4_000 where !isDone {
            perform(machine.readMayResume(at: now, conditions))
            if isExamined { settle(isAdmitted: true) }
            deliver()
            acknowledge()
            conditions = .open
            #expect(violations == [], "seed \(seed)")
        }
        #expect(isDone)
        if !isClosing && !isChannelClosed { #expect(lastAcknowledged == lastBatch) }
        disconnect()
        #expect(violations == [], "seed \(seed)")
        #expect(machine.state.name == "closed" && ends == 1)
    }

    // MARK: - Events

    private mutating func completeHandshake() {
        isHandshakeDone = true
        perform(machine.handshakeCompleted())
    }

    private mutating func send() {
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            if !isHelloSent, !isLucky(oneIn: 50) {
                isHelloSent = true
                socket.append(Message.hello)
            } else if isLucky(oneIn: 20) {
                socket.append(Message.addresses)
            } else if isLucky(oneIn: 500) {
                socket.append(Message.malformed)
            } else {
                lastBatch += 1
                socket.append(lastBatch)
            }
        }
    }

    /// Delivers what one read takes off the socket, and asks for the next read.
    private mutating func deliver() {
        guard isReadIssued, isHandshakeDone, !socket.isEmpty, !isChannelClosed else { return }
        isReadIssued = false
        let count = min(socket.count, Int.random(in: 1...20, using: &generator))
        let messages = socket.prefix(count)
        socket.removeFirst(count)
        for message in messages {
            // A socket delivers nothing once it is closed.
            guard !isChannelClosed else { return }
            perform(machine.frameReceived(.numbered(message), at: now, conditions))
        }
        if !isChannelClosed { perform(machine.readRequested(at: now, conditions)) }
    }

    private mutating func settle(isAdmitted: Bool = false) {
        isExamined = false
        let refusal =
            isLucky(oneIn: 2)
            ? AgentVerdict.refused(reason: "wrong_token", explanation: "another token")
            : .undecided(reason: "no_answer", explanation: "later")
        let lifetime: Duration? = isLucky(oneIn: 2) ? .seconds(600) : nil
        let verdict = isAdmitted || !isLucky(oneIn: 10) ? AgentVerdict.admitted(lifetime: lifetime) : refusal
        perform(machine.examined(verdict, at: now, conditions))
    }

    /// Names the block of the last batches to the agent.
    private mutating func announce() {
        guard lastAcknowledged < lastDecoded, !isChannelClosed else { return }
        let batches = (Int.random(in: lastAcknowledged..<lastDecoded, using: &generator) + 1...lastDecoded)
            .map { UInt64($0) }
        if !isClosing { announced.formUnion(batches) }
        perform(machine.held(Held(token: 1, day: 1, sequences: batches), at: now, conditions))
    }

    /// Acknowledges some batches, in order.
    private mutating func acknowledge() {
        guard !isChannelClosed else { return }
        let first = lastAcknowledged + 1
        lastAcknowledged += Int.random(in: 0...lastDecoded - lastAcknowledged, using: &generator)
        let batches = (first..<lastAcknowledged + 1).map { UInt64($0) }
        announced.subtract(batches)
        perform(machine.acknowledged(batches, at: now, conditions))
    }

    /// Lets the time pass until the next timer is due.
    private mutating func fireNextTimer() {
        guard let (timer, due) = timers.min(by: { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }) else {
            return
        }
        timers[timer] = nil
        now = max(now, due)
        perform(machine.timerFired(timer, at: now, conditions))
    }

    private mutating func fail() {
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: perform(machine.evicted())
        case 1: perform(machine.unfinishedFramesExceeded())
        case 2: perform(machine.failed(ChannelError.eof))
        default: close()
        }
    }

    private mutating func close() {
        isClosing = true
        let action = machine.closeRequested()
        // An encrypted channel stays open until the peer has confirmed the end.
        if !isEncrypted || isLucky(oneIn: 2) { disconnect() }
        perform(action)
    }

    private mutating func disconnect() {
        isChannelClosed = true
        perform(machine.disconnected())
    }

    // MARK: - Actions

    private mutating func perform(_ action: Machine.Action) {
        switch action {
        case .nothing, .countAged, .updateAddresses, .settle: break
        case .confirm: #expect(admissions == 1)
        case .all(let actions): for action in actions { perform(action) }
        case .decode(let frame): decode(frame)
        case .decodeWaitingFrames:
            while true {
                let action = machine.nextWaitingFrame(conditions)
                perform(action)
                guard case .decode = action else { break }
            }
        case .read: isReadIssued = true
        // A write may fail and close the channel.
        case .write: if isLucky(oneIn: 50) { disconnect() }
        case .schedule(let timer, let delay):
            #expect(delay > .zero)
            timers[timer] = now + delay
        case .cancel(let timer): timers[timer] = nil
        case .examine:
            #expect(examinesAgents)
            examinations += 1
            isExamined = true
        case .admit:
            #expect(!examinesAgents || examinations == 1)
            admissions += 1
        case .fail:
            failures += 1
            close()
        case .close: close()
        case .withdraw(let sequences, of: _):
            #expect(isChannelClosed && ends == 0)
            #expect(sequences == Set((lastAcknowledged + 1...lastDecoded).map { UInt64($0) }))
        case .end(let agent):
            #expect((agent != nil) == (admissions == 1))
            ends += 1
            timers = [:]
        }
    }

    private mutating func decode(_ frame: ByteBuffer) {
        // Nothing is decoded once the connection was refused or is being closed, or while reading is paused.
        #expect(!isClosing && !isChannelClosed && failures == 0)
        let message = frame.getInteger(at: frame.readerIndex, as: Int.self) ?? 0
        // A confirmation is read in any case: a block may wait for it.
        if message != Message.confirmation {
            #expect(conditions.isGateOpen && conditions.isWritable && !isExamined)
        }
        switch message {
        case Message.confirmation:
            let confirmed = announced
            announced = []
            perform(machine.confirmationReceived(HeldConfirmation(token: 1, sequences: Array(confirmed))))
        case Message.hello: perform(machine.helloReceived(.test(), from: "192.0.2.1", at: now))
        case Message.addresses: perform(machine.hostAddressesReceived([.one]))
        case Message.malformed: perform(machine.failed(WireError.notAMessage(1)))
        default:
            switch machine.batchReceived(UInt64(message), at: now) {
            case .take:
                #expect(admissions == 1)
                // Every batch once, in order.
                #expect(message == lastDecoded + 1)
                lastDecoded = message
                // A sink may end reading while it takes a batch.
                if isLucky(oneIn: 20) { conditions.isGateOpen = false }
            case .drop(let action):
                #expect(admissions == 0)
                perform(action)
            }
        }
    }

    /// The invariants that do not hold.
    private var violations: [String] {
        let isOpen = !isClosing && !isChannelClosed
        let inFlight = machine.batchesInFlight
        let invariants = [
            ("batches in flight are counted", inFlight == lastDecoded - lastAcknowledged || !isOpen),
            ("batches in flight are limited", inFlight <= batchesInFlight),
            ("waiting frames are limited", machine.waitingFrames <= (isOpen ? Machine.maximumWaiting : 0)),
            ("one examination, one admission", examinations <= 1 && admissions <= 1),
            ("one failure, one end", failures <= 1 && ends <= 1),
            ("closed like the channel", (machine.state.name == "closed") == isChannelClosed),
            ("no request to read is forgotten", isReadIssued || machine.isReadPaused || isChannelClosed),
            ("a silent peer has a deadline", timers[.deadline] != nil || isExamined || !isOpen),
        ]
        return invariants.filter { !$0.1 }.map(\.0)
    }
}
