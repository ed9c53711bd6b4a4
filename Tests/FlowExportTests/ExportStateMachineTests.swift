// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import NIOCore
import Retry
import TestSupport
import Testing

@Suite struct ExportStateMachineTests {
    @Test("the first attempt to connect is due at once") func theFirstAttemptIsDueAtOnce() {
        let machine = machine()
        #expect(machine.start() == .connect(after: .zero))
        #expect(machine.isEmpty)
    }

    @Test("all unacknowledged batches are sent in order when a connection opens")
    func everythingKeptIsSentInOrderWhenAConnectionOpens() {
        let machine = machine()
        _ = machine.start()
        let batches = (1...3).map { ExportBatch.test($0) }
        for batch in batches { #expect(machine.enqueue(batch) == .nothing) }
        #expect(machine.open() == .sendFrames(batches.map(\.frame)))
    }

    @Test("nothing is sent when a connection opens without batches")
    func anOpenedConnectionWithNothingKeptIsLeftAlone() {
        let machine = machine()
        _ = machine.start()
        #expect(machine.open() == .nothing)
    }

    @Test("a batch is sent at once on an open connection") func aBatchIsSentAtOnceOnAnOpenConnection() {
        let machine = connected()
        let batch = ExportBatch.test(1)
        #expect(machine.enqueue(batch) == .sendFrames([batch.frame]))
        #expect(machine.awaitsAnswer)
    }

    @Test("an acknowledged batch is no longer kept and not sent again") func anAcknowledgedBatchIsForgotten() {
        let machine = connected()
        let batches = (1...3).map { ExportBatch.test($0, [.test(1), .test(2)]) }
        for batch in batches { _ = machine.enqueue(batch) }
        let (acknowledged, action) = machine.acknowledged([3, 1])
        #expect(action == .nothing)
        #expect(acknowledged == .init(sequences: [3, 1], amount: FlowAmount(flows: 4, bytes: 8_000), unknown: 0))
        #expect(machine.unacknowledged == FlowAmount(flows: 2, bytes: 4_000))
        #expect(machine.keptFrameBytes == batches[1].frame.readableBytes)
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames([batches[1].frame]))
        #expect(machine.acknowledged([2]).0.sequences == [2])
        #expect(machine.isEmpty && !machine.awaitsAnswer)
        #expect(machine.keptFrameBytes == 0)
    }

    @Test("acknowledgements of batches that were not sent are counted as unknown")
    func acknowledgementsOfWhatWasNotSentSettleNothing() {
        let machine = connected()
        _ = machine.enqueue(.test(1))
        let amount = FlowAmount(flows: 1, bytes: 2_000)
        let expected = ExportStateMachine.Acknowledged(sequences: [1], amount: amount, unknown: 4)
        #expect(machine.acknowledged([1, 1, 2, 0, .max]).0 == expected)
        #expect(machine.acknowledged([]).0 == .init())
        // This batch is kept for the next connection.
        _ = machine.goAway()
        _ = machine.connectionClosed()
        _ = machine.enqueue(.test(2))
        #expect(machine.acknowledged([2]).0 == .init(unknown: 1))
        #expect(!machine.isEmpty)
    }

    @Test("the delay before the next attempt doubles after each lost connection")
    func afterALostConnectionTheNextAttemptWaitsLongerEachTime() throws {
        let machine = connected()
        var bound = Duration.milliseconds(500)
        for _ in 0..<8 {
            let wait = try #require(machine.connectionClosed().wait)
            #expect(wait >= bound * 0.09 && wait <= bound)
            #expect(machine.open() == .nothing)
            bound = min(bound * 2, .seconds(30))
        }
    }

    @Test("only an acknowledgement resets the delay before the next attempt")
    func onlyAnAcknowledgementShortensTheNextWait() throws {
        let machine = connected()
        for _ in 0..<8 {
            _ = machine.connectionFailed()
            #expect(machine.attemptIsDue())
        }
        _ = machine.connectionOpened()
        _ = machine.enqueue(.test(1))
        _ = machine.acknowledged([7])
        #expect(try #require(machine.connectionClosed().wait) > .milliseconds(500))
        _ = machine.open()
        _ = machine.acknowledged([1])
        #expect(try #require(machine.connectionClosed().wait) <= .milliseconds(500))
    }

    @Test("an attempt that is due is made once") func anAttemptIsMadeOnceWhenItIsDue() {
        let machine = machine()
        #expect(!machine.attemptIsDue())
        _ = machine.start()
        #expect(machine.attemptIsDue())
        #expect(!machine.attemptIsDue())
        _ = machine.connectionOpened()
        #expect(!machine.attemptIsDue())
    }

    @Test("after GoAway, new batches wait for the next connection")
    func afterGoAwayNothingNewIsSentUntilTheNextConnection() {
        let machine = connected()
        let batches = (1...3).map { ExportBatch.test($0) }
        _ = machine.enqueue(batches[0])
        _ = machine.enqueue(batches[1])
        #expect(machine.goAway() == .nothing)
        #expect(machine.enqueue(batches[2]) == .nothing)
        #expect(machine.acknowledged([1]).1 == .nothing)
        #expect(machine.acknowledged([2]).1 == .close)
        #expect(machine.connectionClosed().wait != nil)
        #expect(machine.open() == .sendFrames([batches[2].frame]))
    }

    @Test("while batches are owed for long after GoAway, new ones are sent on the connection again")
    func departureFailed() {
        let machine = connected()
        let batches = (1...3).map { ExportBatch.test($0) }
        _ = machine.enqueue(batches[0])
        #expect(machine.departureFailed() == .nothing)
        _ = machine.goAway()
        _ = machine.enqueue(batches[1])
        #expect(machine.departureFailed() == .sendFrames([batches[1].frame]))
        #expect(machine.enqueue(batches[2]) == .sendFrames([batches[2].frame]))
        #expect(machine.acknowledged([1, 2, 3]).1 == .nothing)
        #expect(machine.goAway() == .close)
        #expect(machine.departureFailed() == .nothing)
    }

    @Test("a connection that drains for the batches of an earlier process is not used again")
    func departureFailedWithRestoredBatches() {
        let machine = connected()
        _ = machine.enqueue(.test(1))
        _ = machine.restore([SpooledBatch(agentID: .random(), batch: .test(1))])
        _ = machine.goAway()
        #expect(machine.departureFailed() == .nothing)
        #expect(machine.acknowledged([1]).1 == .close)
    }

    @Test("GoAway closes a connection without unacknowledged batches") func anIdleConnectionIsClosedOnGoAway() {
        let machine = connected()
        #expect(machine.goAway() == .close)
        #expect(machine.goAway() == .nothing)
    }

    @Test("batches of a connection lost after GoAway are sent again")
    func aDrainingConnectionThatIsLostSendsEverythingAgain() {
        let machine = connected()
        let batch = ExportBatch.test(1)
        _ = machine.enqueue(batch)
        _ = machine.goAway()
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames([batch.frame]))
    }

    @Test("a drain shortens the delays of attempts while batches are kept")
    func hurryingBringsTheNextAttemptForwardWhereSomethingIsKept() throws {
        let machine = machine()
        _ = machine.start()
        for _ in 0..<10 {
            _ = machine.attemptIsDue()
            _ = machine.connectionFailed()
        }
        #expect(machine.hurry() == .nothing)
        _ = machine.enqueue(.test(1))
        #expect(machine.hurry() == .connect(after: .zero))
        for _ in 0..<10 {
            #expect(machine.attemptIsDue())
            #expect(try #require(machine.connectionFailed().wait) <= .seconds(1))
        }
        _ = machine.open()
        #expect(machine.hurry() == .nothing)
    }

    @Test("a drain closes a connection that GoAway has stopped, if batches are waiting")
    func hurryingLeavesAServerThatTakesNothingNew() {
        let machine = connected()
        let batches = (1...2).map { ExportBatch.test($0) }
        _ = machine.enqueue(batches[0])
        _ = machine.goAway()
        _ = machine.enqueue(batches[1])
        #expect(machine.hurry() == .close)
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames(batches.map(\.frame)))
    }

    @Test("no connection is opened after the stop") func afterStoppingNoConnectionIsOpened() {
        let open = connected()
        #expect(open.stop() == .close)
        #expect(open.connectionClosed() == .nothing)
        #expect(!open.attemptIsDue())

        let opening = machine()
        _ = opening.start()
        _ = opening.attemptIsDue()
        #expect(opening.stop() == .nothing)
        #expect(opening.connectionOpened() == .close)
        #expect(opening.connectionFailed() == .nothing)
    }

    // MARK: - Merging

    @Test("above the limit, batches of the same minute that were never sent are merged")
    func aboveTheBoundTheNeverSentBatchesOfAMinuteAreMerged() throws {
        let machine = machine(mergeAboveBytes: 200)
        _ = machine.start()
        for sequence in 1...100 { _ = machine.enqueue(.test(UInt64(sequence), at: UInt64(sequence) * 1_200)) }
        #expect(machine.keptFrameBytes < 300)
        #expect(machine.unacknowledged.bytes == 200_000)
        guard case .send(let frames) = machine.open() else {
            Issue.record("no frame is sent")
            return
        }
        let sent = try frames.map { try SentBatch(frame: $0.frame) }
        #expect(Set(sent.map { $0.observedAtMilliseconds / 60_000 }) == [0, 1, 2])
        for minute: UInt64 in 0...2 {
            let moments = (1...100).map { UInt64($0) * 1_200 }.filter { $0 / 60_000 == minute }
            let batches = sent.filter { $0.observedAtMilliseconds / 60_000 == minute }
            #expect(batches.reduce(0) { $0 + $1.reportedBytes } == UInt64(moments.count) * 2_000)
        }
        #expect(sent.map(\.sequence) == sent.map(\.sequence).sorted())
    }

    /// The batches share few flows: every merge visits all of them and saves little.
    @Test("merging is not repeated for every batch if it saves little") func mergingIsNotRepeatedForEveryBatch() {
        func batch(_ sequence: Int) -> ExportBatch {
            .test(UInt64(sequence), [.test(0)] + (1...50).map { Flow.test(sequence * 50 + $0) })
        }
        let machine = machine(mergeAboveBytes: 40 * batch(1).frame.readableBytes)
        _ = machine.start()
        var merges = 0
        for sequence in 1...120 {
            let before = machine.mergedFlows
            _ = machine.enqueue(batch(sequence))
            if machine.mergedFlows > before { merges += 1 }
        }
        #expect((10...20).contains(merges))
    }

    @Test("a batch that was sent is never merged") func whatWasSentIsNeverChanged() {
        let machine = machine(mergeAboveBytes: 0)
        _ = machine.start()
        let sent = ExportBatch.test(1)
        _ = machine.enqueue(sent)
        _ = machine.open()
        _ = machine.connectionClosed()
        for sequence in 2...9 { _ = machine.enqueue(.test(UInt64(sequence))) }
        guard case .send(let frames) = machine.open() else {
            Issue.record("no frame is sent")
            return
        }
        #expect(frames.first?.frame == sent.frame)
        #expect(frames.count == 2)
    }

    // MARK: - Batches of earlier processes

    @Test("restored batches are sent first, under the id of each earlier process")
    func restoredBatchesGoFirst() {
        let machine = machine()
        _ = machine.start()
        _ = machine.enqueue(.test(1))
        let (first, second) = (AgentID(bits: 7), AgentID(bits: 8))
        let batches = [
            SpooledBatch(agentID: first, batch: .test(4)), SpooledBatch(agentID: first, batch: .test(9)),
            SpooledBatch(agentID: second, batch: .test(1)),
        ]
        #expect(machine.restore(batches) == .nothing)
        #expect(machine.unacknowledged == FlowAmount(flows: 4, bytes: 8_000) && machine.restoredBatches == 3)
        for (number, (agentID, sequences)) in [(first, [UInt64(4), 9]), (second, [1])].enumerated() {
            #expect(machine.nextAgentID == agentID)
            #expect(machine.open() == .sendFrames(sequences.map { ExportBatch.test($0).frame }))
            #expect(machine.enqueue(.test(UInt64(2 + number))) == .nothing)
            #expect(machine.acknowledged(sequences).1 == .close)
            #expect(machine.connectionClosed().wait != nil)
        }
        #expect(machine.nextAgentID == Machine.agentID)
        #expect(machine.open() == .sendFrames([1, 2, 3].map { ExportBatch.test($0).frame }))
        #expect(machine.acknowledged([1, 2, 3]).1 == .nothing)
        #expect(machine.isEmpty)
    }

    @Test("an acknowledgement applies to the process whose id the connection uses")
    func acknowledgementsAreOfTheConnectionsProcess() {
        let machine = machine()
        _ = machine.start()
        _ = machine.enqueue(.test(1))
        _ = machine.restore([SpooledBatch(agentID: AgentID(bits: 7), batch: .test(2))])
        _ = machine.open()
        #expect(machine.acknowledged([1]).0 == .init(unknown: 1))
        #expect(machine.acknowledged([2]).0.sequences == [2])
        #expect(machine.oldest == BatchKey(agentID: Machine.agentID, sequence: 1))
    }

    @Test("restored batches are never merged")
    func restoredBatchesAreNotMerged() {
        let machine = machine(mergeAboveBytes: 0)
        _ = machine.start()
        let left = (1...3).map { SpooledBatch(agentID: AgentID(bits: 7), batch: .test($0)) }
        _ = machine.restore(left)
        for sequence in 1...9 { _ = machine.enqueue(.test(UInt64(sequence))) }
        #expect(machine.merges > 0)
        #expect(machine.open() == .sendFrames(left.map(\.batch.frame)))
    }

    @Test("a connection is closed for restored batches once its own are acknowledged")
    func restoringWhileConnected() {
        let machine = connected()
        let new = ExportBatch.test(1)
        _ = machine.enqueue(new)
        let left = SpooledBatch(agentID: AgentID(bits: 7), batch: .test(1))
        #expect(machine.restore([left]) == .nothing)
        #expect(machine.enqueue(.test(2)) == .nothing)
        #expect(machine.acknowledged([1]).1 == .close)
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames([left.batch.frame]))

        let idle = connected()
        #expect(idle.restore([left]) == .close)
    }

    // MARK: - Any sequence of events

    @Test("random events lose no batch and send none twice on a connection", arguments: 0..<200)
    func whateverHappensNothingIsLostOrSentTwiceOnAConnection(_ seed: Int) throws {
        var world = World(seed: UInt64(seed))
        for _ in 0..<150 { try world.step() }
        try world.settle()
    }

    private func machine(mergeAboveBytes: Int = .max) -> Machine { Machine(mergeAboveBytes: mergeAboveBytes) }

    private func connected() -> Machine { .connected() }
}

/// A state machine in an object, since a call inside `#expect` cannot mutate a value.
@dynamicMemberLookup final class Machine {
    typealias Action = ExportStateMachine.Action

    static let agentID = AgentID(bits: 1)

    private var machine: ExportStateMachine

    init(mergeAboveBytes: Int = .max, maximumInFlightBytes: Int = .max) {
        machine = ExportStateMachine(
            agentID: Self.agentID, backoff: .serverConnection,
            mergeAboveBytes: mergeAboveBytes, maximumInFlightBytes: maximumInFlightBytes)
    }

    /// Returns a machine with an open connection.
    static func connected(mergeAboveBytes: Int = .max, maximumInFlightBytes: Int = .max) -> Machine {
        let machine = Machine(mergeAboveBytes: mergeAboveBytes, maximumInFlightBytes: maximumInFlightBytes)
        _ = machine.start()
        _ = machine.open()
        return machine
    }

    subscript<Value>(dynamicMember member: KeyPath<ExportStateMachine, Value>) -> Value { machine[keyPath: member] }

    func start() -> Action { machine.start() }
    func attemptIsDue() -> Bool { machine.attemptIsDue() }
    func connectionOpened() -> Action { machine.connectionOpened() }
    func connectionFailed() -> Action { machine.connectionFailed() }
    func connectionClosed() -> Action { machine.connectionClosed() }
    func enqueue(_ batch: ExportBatch) -> Action { machine.enqueue(batch) }
    func restore(_ batches: [SpooledBatch]) -> Action { machine.restore(batches) }
    func goAway() -> Action { machine.goAway() }
    func departureFailed() -> Action { machine.departureFailed() }
    func hurry() -> Action { machine.hurry() }
    func stop() -> Action { machine.stop() }

    func welcomed(by welcome: Welcome, at now: AnnouncementTime = .now()) -> Action {
        machine.welcomed(by: welcome, at: now)
    }
    func answeredWithoutWelcome() -> Action { machine.answeredWithoutWelcome() }
    func settled(_ fates: [SettledDoubt]) -> (ExportStateMachine.Acknowledged, Action) { machine.settled(fates) }
    func batches(_ keys: [BatchKey], recordedUnder token: UInt128) -> [BatchKey] {
        machine.batches(keys, recordedUnder: token)
    }

    /// Announces a block, and returns the numbers of the batches that are recorded.
    func held(_ token: UInt128, _ sequences: [UInt64], at now: AnnouncementTime = .now()) -> [UInt64]? {
        machine.held(Held(token: token, day: 20_000, sequences: sequences), at: now)?.batches.map(\.sequence)
    }

    func logFellBehind() { machine.logFellBehind() }
    func logCaughtUp() -> Action { machine.logCaughtUp() }

    func acknowledged(
        _ sequences: [UInt64], grantedBytes: UInt64 = 0
    ) -> (ExportStateMachine.Acknowledged, Action) {
        machine.acknowledged(sequences, grantedBytes: grantedBytes)
    }

    /// Makes the attempt that is due, successfully.
    func open() -> Action {
        _ = attemptIsDue()
        return connectionOpened()
    }
}

extension Welcome {
    /// Returns the welcome of a server process.
    static func test(_ id: UInt128, settlesDoubts: Bool = false, grantedBytes: UInt64 = 0) -> Welcome {
        Welcome(
            serverID: id, address: IPAddress(v4: 0x7f00_0001), port: 1, settlesDoubts: settlesDoubts,
            grantedBytes: grantedBytes)
    }
}

extension ExportStateMachine.Action {
    fileprivate var wait: Duration? {
        guard case .connect(let wait) = self else { return nil }
        return wait
    }
}

/// A state machine, the network around it, and the invariants that must hold.
private struct World {
    private struct Connection {
        let agentID: AgentID
        var unacknowledged: Set<UInt64> = []
        var inFlightBytes = 0
        var window = ExportStateMachine.firstGrantedBytes
        var lastSequence: UInt64 = 0
        var isAway = false

        func fits(_ bytes: Int) -> Bool { unacknowledged.isEmpty || bytes <= window - inFlightBytes }
    }

    private var generator: SeededGenerator
    private let machine: Machine
    private var isAttemptAwaited = false
    private var isConnecting = false
    private var connection: Connection?

    private var lastSequence: UInt64 = 0
    private var moment: UInt64 = 0
    /// The network bytes enqueued and acknowledged, by minute.
    private var enqueued: [UInt64: UInt64] = [:]
    private var enqueuedFlows: UInt64 = 0
    private var acknowledged: [UInt64: UInt64] = [:]
    private var acknowledgedFlows: UInt64 = 0
    /// Every batch that was ever sent.
    private var sent: [BatchKey: (frame: ByteBuffer, batch: SentBatch)] = [:]
    private var settled: Set<BatchKey> = []
    private var predecessors: UInt128 = 0
    private var isLogBehind = false

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        machine = Machine(mergeAboveBytes: [0, 500, .max].randomElement(using: &generator) ?? 0)
    }

    mutating func step() throws {
        switch Int.random(in: 0..<22, using: &generator) {
        case 0 where lastSequence == 0 && !isAttemptAwaited && !isConnecting && connection == nil:
            try perform(machine.start())
        case 0...4: try enqueue()
        case 5...7: if isAttemptAwaited { try attempt() }
        case 8, 9: if isConnecting { try open() }
        case 10:
            guard isConnecting else { break }
            isConnecting = false
            try perform(machine.connectionFailed())
        case 11: if connection != nil { try close() }
        case 12 where connection != nil:
            connection?.isAway = true
            try perform(machine.goAway())
        case 13 where isAttemptAwaited || connection?.isAway == true: try perform(machine.hurry())
        case 14 where predecessors < 3: try restore()
        case 15 where connection != nil: try welcome()
        case 16 where isLogBehind:
            isLogBehind = false
            try perform(machine.logCaughtUp())
        default: if let connection { try acknowledge(someOf: connection.unacknowledged) }
        }
        check()
    }

    /// Lets a working server appear, which acknowledges everything.
    mutating func settle() throws {
        if connection?.isAway == true { try close() }
        if !isAttemptAwaited && !isConnecting && connection == nil { try perform(machine.start()) }
        if isLogBehind {
            isLogBehind = false
            try perform(machine.logCaughtUp())
        }
        // Each process's batches take a connection of their own.
        for _ in 0...predecessors {
            if isAttemptAwaited { try attempt() }
            if isConnecting { try open() }
            while let sequence = connection?.unacknowledged.min() { try acknowledge([sequence]) }
            check()
        }
        #expect(machine.isEmpty)
        #expect(machine.unacknowledged == FlowAmount())
        #expect(acknowledged == enqueued)
    }

    private mutating func enqueue() throws {
        lastSequence += UInt64.random(in: 1...3, using: &generator)
        moment += UInt64.random(in: 0...20_000, using: &generator)
        let isIPv4 = Bool.random(using: &generator)
        let flows = (0..<Int.random(in: 1...5, using: &generator)).map { _ in
            Flow.test(
                .random(in: 0..<4, using: &generator), isIPv4: isIPv4,
                bytes: .random(in: 1...1_000_000, using: &generator))
        }
        let batch = ExportBatch.test(lastSequence, flows, at: moment)
        enqueued[moment / 60_000, default: 0] += batch.amount.bytes
        enqueuedFlows += batch.amount.flows
        let mustBeSent =
            connection.map {
                !$0.isAway && $0.agentID == Machine.agentID && waiting.isEmpty && !isLogBehind
                    && $0.fits(batch.frame.readableBytes)
            } ?? false
        let merges = machine.merges
        let action = machine.enqueue(batch)
        #expect(action == (mustBeSent ? .sendFrames([batch.frame]) : .nothing))
        try perform(action)
        if machine.merges > merges, Bool.random(using: &generator) {
            isLogBehind = true
            machine.logFellBehind()
        }
    }

    /// The batches of the connection's process that it has not sent.
    private var waiting: [ExportBatch] {
        guard let connection else { return [] }
        return machine.spooledBatches
            .filter { $0.agentID == connection.agentID && !connection.unacknowledged.contains($0.batch.sequence) }
            .map(\.batch)
    }

    private mutating func welcome() throws {
        let granted = [0, 1, 200, 1_000, 100_000].randomElement(using: &generator) ?? 0
        connection?.window = granted == 0 ? .max : granted
        try perform(machine.welcomed(by: .test(7, grantedBytes: UInt64(granted))))
    }

    private mutating func restore() throws {
        predecessors += 1
        var batches: [SpooledBatch] = []
        for sequence in 1...Int.random(in: 1...4, using: &generator) {
            moment += 1
            let batch = ExportBatch.test(UInt64(sequence), [.test(sequence)], at: moment)
            batches.append(SpooledBatch(agentID: AgentID(bits: 100 + predecessors), batch: batch))
            enqueued[moment / 60_000, default: 0] += batch.amount.bytes
            enqueuedFlows += batch.amount.flows
        }
        let isNew = connection.map { !$0.isAway } ?? false
        if isNew { connection?.isAway = true }
        try perform(machine.restore(batches))
    }

    private mutating func attempt() throws {
        isAttemptAwaited = false
        try #require(machine.attemptIsDue())
        isConnecting = true
    }

    private mutating func open() throws {
        isConnecting = false
        let agentID = machine.nextAgentID
        connection = Connection(agentID: agentID)
        try perform(machine.connectionOpened())
        let ofProcess = machine.spooledBatches.filter { $0.agentID == agentID }
        #expect(ofProcess.count == machine.keptBatches || agentID != Machine.agentID)
    }

    private mutating func close() throws {
        connection = nil
        try perform(machine.connectionClosed())
        #expect(isAttemptAwaited)
    }

    private mutating func acknowledge(someOf inFlight: Set<UInt64>) throws {
        var sequences = inFlight.sorted().filter { _ in Bool.random(using: &generator) }
        // Some of them twice, some acknowledged before, some that never existed.
        let again = settled.filter { $0.agentID == connection?.agentID }.map(\.sequence).sorted()
        for others in [sequences, again, [lastSequence + 100, .max]] where Bool.random(using: &generator) {
            sequences += others.prefix(2)
        }
        if Bool.random(using: &generator) { sequences.shuffle(using: &generator) }
        try acknowledge(sequences)
    }

    private mutating func acknowledge(_ sequences: [UInt64]) throws {
        let agentID = connection?.agentID ?? Machine.agentID
        var rest = connection?.unacknowledged ?? []
        let known = sequences.filter { rest.remove($0) != nil }
        let keys = known.map { BatchKey(agentID: agentID, sequence: $0) }
        let batches = keys.compactMap { sent[$0]?.batch }
        for batch in batches {
            acknowledged[batch.observedAtMilliseconds / 60_000, default: 0] += batch.reportedBytes
        }
        connection?.unacknowledged.subtract(known)
        connection?.inFlightBytes -= keys.compactMap { sent[$0]?.frame.readableBytes }.reduce(0, +)
        settled.formUnion(keys)
        var granted: UInt64 = 0
        if connection != nil, Int.random(in: 0..<4, using: &generator) == 0 {
            granted = [150, 600, 5_000].randomElement(using: &generator) ?? 0
            connection?.window = Int(granted)
        }
        let (result, action) = machine.acknowledged(sequences, grantedBytes: granted)
        // The next connection carries another process's batches.
        if agentID != Machine.agentID && machine.nextAgentID != agentID { connection?.isAway = true }
        let amount = FlowAmount(
            flows: batches.reduce(0) { $0 + UInt64($1.flows.count) },
            bytes: batches.reduce(0) { $0 + $1.reportedBytes })
        acknowledgedFlows += amount.flows
        let expected = ExportStateMachine.Acknowledged(
            sequences: known, amount: amount, unknown: sequences.count - known.count)
        #expect(result == expected)
        try perform(action)
    }

    private mutating func perform(_ action: ExportStateMachine.Action) throws {
        switch action {
        case .nothing: break
        case .connect:
            #expect(!isConnecting && connection == nil)
            isAttemptAwaited = true
        case .send(let frames):
            for frame in frames { try receive(frame.frame) }
        case .close:
            try #require(connection != nil)
            try close()
        }
    }

    private mutating func receive(_ frame: ByteBuffer) throws {
        let batch = try SentBatch(frame: frame)
        var connection = try #require(self.connection)
        #expect(!connection.isAway)
        // Numbers ascend, so no batch is sent twice on a connection.
        #expect(batch.sequence > connection.lastSequence)
        let key = BatchKey(agentID: connection.agentID, sequence: batch.sequence)
        #expect(!settled.contains(key))
        if let earlier = sent[key] { #expect(earlier.frame == frame) }
        #expect(connection.fits(frame.readableBytes))
        connection.inFlightBytes += frame.readableBytes
        connection.lastSequence = batch.sequence
        connection.unacknowledged.insert(batch.sequence)
        sent[key] = (frame, batch)
        self.connection = connection
    }

    private func check() {
        let rest = enqueued.values.reduce(0, +) - acknowledged.values.reduce(0, +)
        #expect(machine.unacknowledged.bytes == rest)
        #expect(machine.unacknowledged.flows + acknowledgedFlows + machine.mergedFlows == enqueuedFlows)
        #expect(machine.isEmpty == (rest == 0))
        #expect(machine.awaitsAnswer == (connection.map { !$0.unacknowledged.isEmpty } ?? false))
        #expect(machine.inFlightBytes == connection?.inFlightBytes ?? 0)
        guard let connection else { return }
        // A draining connection is closed as soon as no batch is in flight.
        if connection.isAway { #expect(!connection.unacknowledged.isEmpty) }
        // A batch that may be sent does not wait.
        if !connection.isAway, let next = waiting.first {
            let wasSent =
                connection.agentID != Machine.agentID
                || sent[BatchKey(agentID: connection.agentID, sequence: next.sequence)] != nil
            #expect(!connection.fits(next.frame.readableBytes) || isLogBehind && !wasSent)
        }
    }
}
