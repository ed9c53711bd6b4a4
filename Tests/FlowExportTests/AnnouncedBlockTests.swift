// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// Blocks that servers announce, and the questions for their fates at other servers.
@Suite struct AnnouncedBlockTests {
    private static let start = AnnouncementTime.now()

    private static func after(_ duration: Duration) -> AnnouncementTime {
        AnnouncementTime(
            steady: start.steady.map { $0 + duration },
            wallMilliseconds: start.wallMilliseconds + UInt64(duration.milliseconds))
    }

    private func frames(_ sequences: [UInt64]) -> [ByteBuffer] { sequences.map { ExportBatch.test($0).frame } }

    private func doubt(_ token: UInt128, age: Duration = .zero, batches: Int = 1) -> Doubt {
        Doubt(
            token: token, day: 20_000, age: age, batches: UInt32(batches), reportedBytes: UInt64(batches) * 2_000)
    }

    /// Returns a machine that has sent these batches to a server process, which has announced these blocks.
    private func machine(
        batches: ClosedRange<UInt64> = 1...3, server: UInt128 = 7, settlesDoubts: Bool = true,
        blocks: [UInt128: [UInt64]] = [:]
    ) -> Machine {
        let machine = Machine.connected()
        _ = machine.welcomed(by: .test(server, settlesDoubts: settlesDoubts))
        for sequence in batches { _ = machine.enqueue(.test(sequence)) }
        for (token, sequences) in blocks { #expect(machine.held(token, sequences, at: Self.start) == sequences) }
        return machine
    }

    // MARK: - Recording

    @Test("a block is recorded with those of its batches that are kept and were sent")
    func recorded() {
        let machine = machine()
        _ = machine.acknowledged([2])
        _ = machine.goAway()
        _ = machine.enqueue(.test(4))
        #expect(machine.held(5, [1, 2, 3, 4, 9]) == [1, 3])
        #expect(machine.spooledBatches.map(\.block?.token) == [5, 5, nil])
        #expect(machine.spooledBatches.map(\.block?.server) == [7, 7, nil])
    }

    @Test("a later block of a batch replaces an earlier one, which is no longer confirmed")
    func replaced() {
        let machine = machine()
        let keys = (1...3).map { BatchKey(agentID: Machine.agentID, sequence: $0) }
        #expect(machine.held(5, [1, 2]) == [1, 2])
        #expect(machine.held(6, [2, 3]) == [2, 3])
        #expect(machine.batches(keys, recordedUnder: 5) == [keys[0]])
        #expect(machine.batches(keys, recordedUnder: 6) == [keys[1], keys[2]])
    }

    @Test("a block of a server that has not said who it is is not recorded")
    func withoutWelcome() {
        let machine = Machine.connected()
        _ = machine.enqueue(.test(1))
        #expect(machine.held(5, [1]) == nil)
    }

    // MARK: - Asking

    @Test("batches in a block wait for the Welcome, and at another server for the block's fate")
    func asked() {
        let machine = machine(blocks: [5: [1, 3]])
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames(frames([2])))
        #expect(machine.awaitsAnswer)
        let question = doubt(5, age: .seconds(9), batches: 2)
        #expect(
            machine.welcomed(by: .test(8, settlesDoubts: true), at: Self.after(.seconds(9)))
                == .sendFrames([Doubt.frame([question])]))
        // New batches do not wait.
        #expect(machine.enqueue(.test(4)) == .sendFrames(frames([4])))
        #expect(machine.acknowledged([2, 4]).1 == .nothing)
        #expect(machine.awaitsAnswer)
        #expect(machine.settled([SettledDoubt(token: 5, fate: .notStored)]).1 == .sendFrames(frames([1, 3])))
        #expect(machine.doubtfulBatches == 0 && machine.spooledBatches.allSatisfy { $0.block == nil })
    }

    @Test("batches of a stored block count as acknowledged")
    func stored() throws {
        let machine = machine(blocks: [5: [1, 3]])
        for _ in 0..<5 {
            _ = machine.connectionClosed()
            _ = machine.open()
        }
        _ = machine.welcomed(by: .test(8, settlesDoubts: true))
        let (result, action) = machine.settled([SettledDoubt(token: 5, fate: .stored)])
        #expect(Set(result.sequences) == [1, 3] && result.amount == FlowAmount(flows: 2, bytes: 4_000))
        #expect(action == .nothing && machine.keptBatches == 1)
        _ = machine.acknowledged([2])
        #expect(machine.isEmpty && machine.keptFrameBytes == 0 && machine.inFlightBytes == 0)
        #expect(!machine.awaitsAnswer && machine.doubtfulBatches == 0)
    }

    @Test("batches of a block of uncertain fate are sent and counted as doubtful")
    func uncertain() {
        let machine = machine(blocks: [5: [1], 6: [2]])
        _ = machine.connectionClosed()
        _ = machine.open()
        _ = machine.welcomed(by: .test(8, settlesDoubts: true))
        #expect(machine.settled([SettledDoubt(token: 5, fate: .uncertain)]).1 == .sendFrames(frames([1])))
        #expect(machine.doubtfulBatches == 1)
        // The next server asks for the other block only.
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames(frames([1, 3])))
        #expect(
            machine.welcomed(by: .test(9, settlesDoubts: true), at: Self.start)
                == .sendFrames([Doubt.frame([doubt(6)])]))
        #expect(machine.doubtfulBatches == 1)
    }

    @Test("the server process that has announced a block receives its batches again")
    func sameServer() {
        let machine = machine(blocks: [5: [1, 3]])
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames(frames([2])))
        #expect(machine.welcomed(by: .test(7, settlesDoubts: true)) == .sendFrames(frames([1, 3])))
        #expect(machine.doubtfulBatches == 0 && machine.spooledBatches.map(\.block?.token) == [5, nil, 5])
    }

    @Test("a server that settles no doubts receives everything, and the batches in blocks are doubtful")
    func withoutSettlement() {
        let machine = machine(blocks: [5: [1, 3]])
        _ = machine.connectionClosed()
        _ = machine.open()
        #expect(machine.welcomed(by: .test(8)) == .sendFrames(frames([1, 3])))
        #expect(machine.doubtfulBatches == 2)
    }

    @Test("a server that sends no Welcome receives everything, and the batches in blocks are doubtful")
    func oldServer() {
        let machine = machine(blocks: [5: [1, 3]])
        _ = machine.connectionClosed()
        _ = machine.open()
        #expect(machine.answeredWithoutWelcome() == .sendFrames(frames([1, 3])))
        #expect(machine.doubtfulBatches == 2)
    }

    @Test("a question that is not answered is asked again on the next connection")
    func askedAgain() {
        let machine = machine(batches: 1...1, blocks: [5: [1]])
        for server: UInt128 in 8...12 {
            _ = machine.connectionClosed()
            #expect(machine.open() == .nothing && machine.awaitsAnswer)
            let welcome = Welcome.test(server, settlesDoubts: true)
            #expect(machine.welcomed(by: welcome, at: Self.start) == .sendFrames([Doubt.frame([doubt(5)])]))
        }
        #expect(machine.settled([SettledDoubt(token: 5, fate: .stored)]).0.sequences == [1])
    }

    @Test("fates that were not asked for are ignored")
    func notAsked() {
        let machine = machine(blocks: [5: [1]])
        #expect(machine.settled([SettledDoubt(token: 5, fate: .stored)]).0 == .init())
        #expect(machine.keptBatches == 3)
    }

    @Test("more blocks than a message takes are asked for in several")
    func manyBlocks() {
        let count = UInt64(Doubt.maximumCount + 1)
        let blocks = Dictionary(uniqueKeysWithValues: (1...count).map { (UInt128($0), [$0]) })
        let machine = machine(batches: 1...count, blocks: blocks)
        _ = machine.connectionClosed()
        _ = machine.open()
        let doubts = (1...count).map { doubt(UInt128($0)) }
        #expect(
            machine.welcomed(by: .test(8, settlesDoubts: true), at: Self.start)
                == .sendFrames([Doubt.frame(Array(doubts.dropLast())), Doubt.frame([doubts[Int(count) - 1]])]))
    }

    @Test("a batch in doubt is not confirmed to another server")
    func inDoubt() {
        let machine = machine(blocks: [5: [1]])
        _ = machine.connectionClosed()
        _ = machine.open()
        _ = machine.welcomed(by: .test(8, settlesDoubts: true))
        #expect(machine.held(6, [1, 2]) == [2])
        _ = machine.settled([SettledDoubt(token: 5, fate: .notStored)])
        #expect(machine.held(6, [1]) == [1])
    }

    @Test("batches of a block that is not stored wait for the window, and go before new ones")
    func window() {
        let machine = machine(batches: 1...2, blocks: [5: [1, 2]])
        _ = machine.connectionClosed()
        _ = machine.open()
        _ = machine.welcomed(by: .test(8, settlesDoubts: true, grantedBytes: 1))
        #expect(machine.enqueue(.test(3)) == .sendFrames(frames([3])))
        #expect(machine.settled([SettledDoubt(token: 5, fate: .notStored)]).1 == .nothing)
        #expect(machine.enqueue(.test(4)) == .nothing)
        for (acknowledged, next): (UInt64, UInt64) in [(3, 1), (1, 2), (2, 4)] {
            #expect(machine.acknowledged([acknowledged]).1 == .sendFrames(frames([next])))
        }
    }

    @Test("after GoAway, a connection stays until the fates are told")
    func goAway() {
        let machine = machine(batches: 1...1, blocks: [5: [1]])
        _ = machine.connectionClosed()
        _ = machine.open()
        _ = machine.welcomed(by: .test(8, settlesDoubts: true))
        #expect(machine.goAway() == .nothing)
        #expect(machine.settled([SettledDoubt(token: 5, fate: .notStored)]).1 == .close)
        _ = machine.connectionClosed()
        #expect(machine.open() == .sendFrames(frames([1])))
    }

    // MARK: - Doubts without blocks

    @Test("a batch without a block is doubtful elsewhere only if its server announces none")
    func serversThatAnnounceNothing() {
        for (announces, doubtful): (Bool, UInt64) in [(true, 0), (false, 3)] {
            let machine = machine(settlesDoubts: announces)
            _ = machine.connectionClosed()
            #expect(machine.open() == .sendFrames(frames([1, 2, 3])))
            _ = machine.welcomed(by: .test(8, settlesDoubts: true))
            #expect(machine.doubtfulBatches == doubtful)
            // The second server announces its blocks.
            _ = machine.connectionClosed()
            _ = machine.open()
            _ = machine.welcomed(by: .test(9, settlesDoubts: true))
            #expect(machine.doubtfulBatches == doubtful)
        }
    }

    @Test("a batch that went to a server of release 1 is doubtful at one that says who it is")
    func afterOldServer() {
        let machine = Machine.connected()
        _ = machine.enqueue(.test(1))
        _ = machine.answeredWithoutWelcome()
        _ = machine.connectionClosed()
        _ = machine.open()
        // It may be the same one.
        _ = machine.answeredWithoutWelcome()
        #expect(machine.doubtfulBatches == 0)
        _ = machine.connectionClosed()
        _ = machine.open()
        _ = machine.welcomed(by: .test(8, settlesDoubts: true))
        #expect(machine.doubtfulBatches == 1)
    }

    // MARK: - Earlier processes

    @Test("restored batches are asked for at another server, by the time of day")
    func restored() {
        let process = AgentID(bits: 3)
        let block = AnnouncedBlock(
            token: 5, day: 20_000, server: 7,
            arrival: AnnouncementTime(wallMilliseconds: Self.start.wallMilliseconds - 60_000))
        let machine = Machine()
        _ = machine.start()
        _ = machine.restore([
            SpooledBatch(agentID: process, batch: .test(1), block: block),
            SpooledBatch(agentID: process, batch: .test(2)),
        ])
        _ = machine.enqueue(.test(1))
        #expect(machine.open() == .sendFrames(frames([2])))
        #expect(
            machine.welcomed(by: .test(8, settlesDoubts: true), at: Self.start)
                == .sendFrames([Doubt.frame([doubt(5, age: .seconds(60))])]))
        // The connection carries the earlier process's batches alone, also while their fate is unknown.
        #expect(machine.acknowledged([2]).1 == .nothing)
        #expect(machine.settled([SettledDoubt(token: 5, fate: .stored)]).1 == .close)
        _ = machine.connectionClosed()
        #expect(machine.nextAgentID == Machine.agentID && machine.open() == .sendFrames(frames([1])))
    }

    @Test("the age of a block is zero if the clock was set back")
    func clockSetBack() {
        let late = AnnouncementTime(wallMilliseconds: Self.start.wallMilliseconds + 60_000)
        #expect(Self.start.duration(since: late) == .zero)
        #expect(Self.after(.seconds(3)).duration(since: Self.start) == .seconds(3))
    }

    // MARK: - Over a connection

    private func exporter(
        to server: RecordingServer, _ configure: (inout FlowExporter.Configuration) -> Void = { _ in }
    ) -> FlowExporter {
        var configuration = FlowExporter.Configuration.test(port: server.port)
        configuration.spoolBackoff = configuration.backoff
        configure(&configuration)
        let exporter = FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        exporter.start()
        return exporter
    }

    /// Returns the first connection of an agent on which two batches are in one announced block each.
    private func announce(
        _ exporter: FlowExporter, _ server: RecordingServer
    ) async throws -> RecordingServer.Connection {
        for number in 1...2 { exporter.export(.test(number)) }
        let connection = try await server.connection(0)
        try await connection.say(.welcome(.test(7, settlesDoubts: true)))
        _ = try await connection.batches(2)
        try await connection.say(.held(Held(token: 5, day: 20_000, sequences: [1, 9])))
        try await connection.say(.held(Held(token: 6, day: 20_000, sequences: [2])))
        try await eventually("the blocks are confirmed") { connection.confirmations.count == 2 }
        #expect(
            connection.confirmations == [
                HeldConfirmation(token: 5, sequences: [1]), HeldConfirmation(token: 6, sequences: [2]),
            ])
        return connection
    }

    @Test("an agent confirms blocks, and asks another server for their fates before it sends their batches")
    func overConnections() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        try await announce(exporter, server).cut()
        let second = try await server.connection(1)
        let new = exporter.export(.test(3))
        #expect(try await second.batches(1) == [new.frame.message])
        try await second.say(.welcome(.test(8, settlesDoubts: true)))
        try await eventually("the agent asks") { second.doubts.count == 2 }
        #expect(second.doubts.map(\.token) == [5, 6] && second.doubts.allSatisfy { $0.batches == 1 })
        try await second.say(.settlement([SettledDoubt(token: 5, fate: .stored)]))
        try await eventually("the stored batch is released") { exporter.statistics.balance.acknowledged.flows == 1 }
        try await second.say(.settlement([SettledDoubt(token: 6, fate: .notStored)]))
        #expect(try await second.batches(2).map { try SentBatch(message: $0).sequence } == [3, 2])
        try await second.say(.ack([2, 3]))
        try await eventually("all is acknowledged") { exporter.statistics.unacknowledgedBatches == 0 }
        #expect(exporter.statistics.doubtfulBatches == 0 && exporter.statistics.unknownAcknowledgements == 0)
        #expect(second.isReadable && exporter.statistics.balance.isBalanced)
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("an agent that stops waits for the fates of blocks")
    func shutdown() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        try await announce(exporter, server).cut()
        let second = try await server.connection(1)
        try await second.say(.welcome(.test(8, settlesDoubts: true)))
        async let rest = exporter.drain(timeout: .hours(1))
        try await eventually("the agent asks") { second.doubts.count == 2 }
        try await second.say(.settlement([5, 6].map { SettledDoubt(token: $0, fate: .stored) }))
        #expect(try await rest == FlowAmount())
    }

    @Test("a server that owes the fates of blocks, or its Welcome, and is silent is left", arguments: [true, false])
    func silence(isWelcomed: Bool) async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server) { $0.answerTimeout = .milliseconds(400) }
        for number in 1...2 { exporter.export(.test(number)) }
        let first = try await server.connection(0)
        try await first.say(.welcome(.test(7, settlesDoubts: true)))
        _ = try await first.batches(2)
        try await first.say(.held(Held(token: 5, day: 20_000, sequences: [1, 2])))
        try await eventually("the block is confirmed") { first.confirmations.count == 1 }
        try await first.cut()
        let second = try await server.connection(1)
        if isWelcomed { try await second.say(.welcome(.test(8, settlesDoubts: true))) }
        try await second.closed()
        #expect(second.batches.isEmpty && exporter.statistics.silentConnections >= 1)
        _ = try await exporter.drain(timeout: .zero)
    }

    // MARK: - With a spool directory

    @Test("the successor of a killed agent asks for the blocks that the agent has confirmed")
    func killed() async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        let first = exporter(to: server) { $0.spoolDirectory = "\(folder.path)/a" }
        _ = try await announce(first, server)
        // A confirmation is sent only once it is recorded.
        try folder.copy("a", to: "b")
        #expect(try folder.batches(in: "b").map(\.block?.token) == [5, 6])
        #expect(try folder.batches(in: "b").map(\.block?.server) == [7, 7])
        _ = try await first.drain(timeout: .zero)
        _ = try await first.closeSpool()

        let second = exporter(to: server) { $0.spoolDirectory = "\(folder.path)/b" }
        let connection = try await server.connection(1)
        try await connection.say(.welcome(.test(8, settlesDoubts: true)))
        try await eventually("the successor asks") { connection.doubts.count == 2 }
        #expect(connection.batches.isEmpty && connection.doubts.map(\.day) == [20_000, 20_000])
        #expect(connection.doubts.allSatisfy { $0.age < .seconds(3_600) })
        try await connection.say(
            .settlement([SettledDoubt(token: 5, fate: .stored), SettledDoubt(token: 6, fate: .notStored)]))
        #expect(try SentBatch(message: try await connection.batches(1)[0]).sequence == 2)
        try await connection.say(.ack([2]))
        try await eventually("all is acknowledged") { second.statistics.unacknowledgedBatches == 0 }
        try await eventually("the log is empty") { try folder.batches(in: "b").isEmpty }
        #expect(second.statistics.balance.isBalanced && second.statistics.doubtfulBatches == 0)
        _ = try await second.drain(timeout: .zero)
        _ = try await second.closeSpool()
        #expect(try folder.bytes(of: "b/spool").count == SpoolFormat.headerBytes)
    }

    @Test("an agent confirms blocks although its spool directory fails")
    func failingDirectory() async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        try folder.write([], to: "a")
        let exporter = exporter(to: server) { $0.spoolDirectory = "\(folder.path)/a" }
        _ = try await announce(exporter, server)
        #expect(exporter.statistics.spool?.problem != nil)
        _ = try await exporter.drain(timeout: .zero)
        _ = try await exporter.closeSpool()
    }

    @Test("the log keeps the last block of each batch, also when it is rewritten")
    func log() throws {
        let folder = try SpoolFolder()
        var directory = SpoolDirectory("\(folder.path)/d", node: "node-a", maximumBytes: 1 << 20)
        let blocks = (1...3).map { number in
            AnnouncedBlock(
                token: UInt128(number), day: 20_000, server: 7,
                arrival: AnnouncementTime(wallMilliseconds: UInt64(number) * 1_000))
        }
        let batches = (1...3).map { SpooledBatch(agentID: AgentID(bits: 7), batch: .test($0)) }
        let keys = batches.map(\.key)
        _ = try directory.open(usedBytes: 0, without: [])
        try directory.replace(with: [])
        for batch in batches { try directory.append(batch) }
        directory.append(blocks[0], with: Array(keys[0...1]))
        directory.append(blocks[1], with: Array(keys[1...2]))
        try directory.flush()
        var found = try directory.open(usedBytes: 0, without: []).contents
        #expect(found.batches.map(\.block) == [blocks[0], blocks[1], blocks[1]] && found.damagedRecords == 0)
        try directory.replace(with: found.batches)
        #expect(directory.shrinkableBytes == 0)
        directory.append(blocks[2], with: [keys[0]])
        try directory.flush()
        #expect(directory.shrinkableBytes > 0)
        found = try directory.open(usedBytes: 0, without: []).contents
        #expect(found.batches.map(\.block) == [blocks[2], blocks[1], blocks[1]] && found.damagedRecords == 0)
        // Records of blocks do not keep a log without batches alive.
        try directory.replace(with: found.batches)
        for batch in batches {
            directory.append(acknowledged: [batch.key], frameBytes: batch.batch.frame.readableBytes)
        }
        try directory.flush()
        #expect(directory.logBytes == SpoolFormat.headerBytes && directory.deadBytes == 0)
    }
}
