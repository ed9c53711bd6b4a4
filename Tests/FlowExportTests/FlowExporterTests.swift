// SPDX-License-Identifier: Apache-2.0

import Dispatch
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import Sockets
import Synchronization
import TestSupport
import Testing
import Threads

@testable import FlowExport
@testable import Retry

@Suite struct FlowExporterTests {
    private static let hello = Hello(
        nodeName: "node-a", agentID: .random(), softwareVersion: "test", confirmsHeld: true)

    // MARK: - Sending and keeping

    @Test("a connection begins with Hello, and batches follow in order")
    func helloComesFirstThenTheBatchesInOrder() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server)
        let early = (1...3).map { exporter.export(.test($0)) }
        exporter.start()
        let connection = try await server.connection(0)
        _ = try await connection.batches(3)
        let late = (4...5).map { exporter.export(.test($0)) }
        let sent = try await connection.batches(5)
        #expect(connection.hello == Self.hello.frame().message)
        #expect(sent == (early + late).map(\.frame.message))
        #expect(exporter.statistics.isConnected)
        #expect(exporter.statistics.connections == 1)
    }

    @Test("a connection detects a dead peer")
    func deadPeer() async throws {
        let server = try await RecordingServer.start()
        var configuration = FlowExporter.Configuration.test(port: server.port)
        configuration.deadPeerSeconds = 12
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let connector = ServerConnector(
            configuration, eventLoop: eventLoop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let connection = try await connector.connect(in: .init(holder: nil, start: 0), while: { true }) {
            NIOCloseOnErrorHandler()
        }.get()
        for (option, value) in DeadPeerDetection.agentOptions(seconds: 12) {
            #expect(try await connection.channel.getOption(option).get() == value, "\(option)")
        }
        try await connection.channel.close()
    }

    @Test("a batch is kept until it is acknowledged") func aBatchIsKeptUntilItIsAcknowledged() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        let batches = (1...3).map { exporter.export([.test($0), .test($0 + 100)]) }
        let connection = try await server.connection(0)
        _ = try await connection.batches(3)
        #expect(exporter.statistics.unacknowledgedBytes == batches.reduce(0) { $0 + $1.frame.readableBytes })
        #expect(exporter.statistics.balance.acknowledged.flows == 0)
        try await connection.say(.ack([1, 3]))
        try await eventually("two batches are released") { exporter.statistics.balance.acknowledged.flows == 4 }
        #expect(exporter.statistics.unacknowledgedBytes == batches[1].frame.readableBytes)
        #expect(exporter.statistics.balance.acknowledged.bytes == 8_000)
        try await connection.say(.ack([2]))
        try await eventually("all batches are released") { exporter.statistics.unacknowledgedBytes == 0 }
        #expect(exporter.statistics.unknownAcknowledgements == 0)
    }

    @Test("acknowledgements of batches that are not waiting are counted as unknown")
    func acknowledgementsOfWhatDoesNotWaitAreCounted() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        exporter.export(.test(1))
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(.ack([1, 1, 77]))
        try await eventually("two acknowledgements are unknown") { exporter.statistics.unknownAcknowledgements == 2 }
        #expect(exporter.statistics.balance.acknowledged.flows == 1)
    }

    @Test("unacknowledged batches are sent again unchanged after a lost connection")
    func afterACutTheSameBytesAreSentAgain() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        let batches = (1...4).map { exporter.export(.test($0)) }
        let first = try await server.connection(0)
        _ = try await first.batches(4)
        try await first.say(.ack([2]))
        try await eventually("one batch is released") { exporter.statistics.balance.acknowledged.flows == 1 }
        try await first.cut()
        let second = try await server.connection(1)
        let again = try await second.batches(3)
        #expect(second.hello == first.hello)
        #expect(again == [batches[0], batches[2], batches[3]].map(\.frame.message))
        #expect(exporter.statistics.connections == 2)
    }

    @Test("no batch is lost if the server closes connections repeatedly")
    func nothingIsLostToAServerThatCutsAgainAndAgain() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        for number in 1...60 { exporter.export(.test(number)) }
        var acknowledged: Set<UInt64> = []
        var number = 0
        while acknowledged.count < 60 {
            let connection = try await server.connection(number)
            let sent = try await connection.batches(60 - acknowledged.count).map { try SentBatch(message: $0).sequence }
            #expect(Set(sent).isDisjoint(with: acknowledged) && sent.count + acknowledged.count == 60)
            // A third of them is acknowledged before each cut; of fewer than ten, all.
            let some = sent.enumerated().filter { ($0.offset + number) % 3 == 0 || sent.count < 10 }.map(\.element)
            try await connection.say(.ack(some))
            try await eventually("the acknowledged batches are released") {
                exporter.statistics.balance.acknowledged.flows == UInt64(acknowledged.count + some.count)
            }
            acknowledged.formUnion(some)
            try await connection.cut()
            number += 1
        }
        #expect(exporter.statistics.unacknowledgedBytes == 0)
        #expect(number > 3)
    }

    /// Two tasks export and a third reads the statistics, while the connection is cut repeatedly and the limit is so
    /// low that batches are merged.
    @Test("every collected flow is acknowledged or waiting at every moment")
    func whatWasCollectedIsAcknowledgedOrWaitsAtEveryMoment() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, bound: 2_000)
        let isOver = Atomic(false)
        async let looks = Task.detached {
            var count = 0
            repeat {
                let now = exporter.statistics
                #expect(now.balance.isBalanced, "\(now)")
                count += 1
                try? await Task.sleep(for: .milliseconds(1))
            } while !isOver.load(ordering: .relaxed)
            return count
        }.value
        async let exported = withTaskGroup { group in
            for (number, source) in FlowSource.allCases.enumerated() {
                group.addTask {
                    var batcher = FlowBatcher(exporter: exporter, source: source)
                    var generator = SeededGenerator(seed: UInt64(number))
                    for moment in 0..<100 {
                        for flow in 0..<Int.random(in: 1...40, using: &generator) {
                            batcher.append(
                                .test(flow, isIPv4: .random(using: &generator)),
                                observedAtMilliseconds: UInt64(moment) * 1_000)
                        }
                        if moment % 5 == 0 { batcher.flush() }
                        await Task.yield()
                    }
                    batcher.flush()
                }
            }
        }
        try await eventually("batches are merged") { exporter.statistics.balance.mergedFlows > 0 }
        exporter.start()
        // There are at least four batches, of two minutes and two families.
        for number in 0..<3 {
            let connection = try await server.connection(number)
            let first = try SentBatch(message: try await connection.batches(1)[0])
            try await connection.say(.ack([first.sequence]))
            try await eventually("the batch is released") { exporter.statistics.balance.acknowledged.flows > 0 }
            try await connection.cut()
        }
        await exported
        let last = try await server.connection(3)
        try await eventually("the remaining batches are sent and acknowledged") {
            try await last.say(.ack(last.batches.map { try SentBatch(message: $0).sequence }))
            return exporter.statistics.unacknowledgedBatches == 0
        }
        isOver.store(true, ordering: .relaxed)
        #expect(await looks > 0)
        let end = exporter.statistics
        #expect(end.balance.isBalanced && end.balance.unacknowledged == FlowAmount() && end.oldestObservation == nil)
    }

    @Test("an idle agent sends heartbeats, which are not batches")
    func heartbeats() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true) { $0.signOfLifeInterval = .milliseconds(1) }
        let connection = try await server.connection(0)
        try await eventually("three heartbeats have arrived") { connection.heartbeats >= 3 }
        let batch = exporter.export(.test(1))
        #expect(try await connection.batches(1) == [batch.frame.message])
        let soFar = connection.heartbeats
        try await eventually("heartbeats continue") { connection.heartbeats > soFar }
        #expect(connection.batches.count == 1 && connection.isReadable)
        #expect(exporter.statistics.connections == 1)
        _ = try await exporter.drain(timeout: .zero)
    }

    @Test("every message but Leaving has the time at which it is sent; a batch, that by the clock of its observation")
    func sendTimes() async throws {
        let reading = Mutex(ClockReading(wallMilliseconds: 1_000_000, bootMilliseconds: 400_000))
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server) { $0.clock = { reading.withLock { $0 } } }
        exporter.export(.test(1))
        reading.withLock { ($0.wallMilliseconds, $0.bootMilliseconds) = (4_007_000, 407_000) }
        exporter.tell(hostAddresses: [IPAddress(v4: 1)])
        exporter.start()
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        // Slewed by 0.2 s, which is no step, then set back by ten minutes.
        reading.withLock { ($0.wallMilliseconds, $0.bootMilliseconds) = (4_008_200, 408_000) }
        exporter.export(.test(2))
        _ = try await connection.batches(2)
        reading.withLock { ($0.wallMilliseconds, $0.bootMilliseconds) = (3_409_000, 409_000) }
        exporter.export(.test(3))
        _ = try await connection.batches(3)
        try await exporter.eventLoop.submit { exporter.sendHeartbeat() }.get()
        try await eventually("the heartbeat has arrived") { connection.heartbeats == 1 }
        #expect(
            connection.sendTimes == [
                SendTime(milliseconds: 4_007_000),
                SendTime(milliseconds: 1_007_000, clockSetMilliseconds: -3_000_000),
                SendTime(milliseconds: 4_008_000),
                SendTime(milliseconds: 3_409_000, clockSetMilliseconds: -600_000),
                SendTime(milliseconds: 3_409_000, clockSetMilliseconds: -600_000),
            ])
        #expect(connection.isReadable)
        _ = try await exporter.drain(timeout: .zero)
    }

    // MARK: - Connecting

    @Test("the agent connects as soon as a server listens") func itConnectsOnceAServerAppears() async throws {
        let server = try RecordingServer()
        let exporter = exporter(to: server, isStarted: true)
        let batch = exporter.export(.test(1))
        try await eventually("two attempts have failed") { exporter.statistics.failedConnections >= 2 }
        #expect(!exporter.statistics.isConnected)
        #expect(exporter.statistics.connections == 0)
        try await server.listen()
        #expect(try await server.connection(0).batches(1) == [batch.frame.message])
    }

    @Test("a name that cannot be resolved is counted as a failed attempt")
    func aNameThatCannotBeResolvedIsAFailedAttempt() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(host: "no..such..name", to: server, isStarted: true)
        try await eventually("the attempt has failed") { exporter.statistics.failedConnections >= 1 }
    }

    @Test("the server is reached by its name") func aServerIsReachedByItsName() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(host: "localhost", to: server, isStarted: true)
        _ = try await server.connection(0)
        try await eventually("the agent is connected") { exporter.statistics.isConnected }
    }

    @Test("agents begin with different addresses of the server")
    func firstAddresses() async throws {
        let servers = [try await RecordingServer.start(), try await RecordingServer.start()]
        let addresses = try servers.map { try SocketAddress(ipAddress: "127.0.0.1", port: $0.port) }
        let exporters = (0..<32).map { _ in
            exporter(to: servers[0], isStarted: true) { $0.resolve = { _, _ in addresses } }
        }
        try await eventually("all agents are connected") { exporters.allSatisfy { $0.statistics.isConnected } }
        // By chance all begin with the same address once in two billion times.
        #expect(servers.allSatisfy { !$0.connections.isEmpty })
    }

    @Test(
        "malformed bytes from the server close the connection, and another is opened",
        arguments: [
            ("garbage", [0, 0, 0, 3, 0xff, 0xff, 0xff]), ("a frame that is too long", [0x7f, 0, 0, 0]),
            ("half a message", [0, 0, 0, 2, 0x0a, 5]),
        ])
    func badBytesFromTheServerCloseTheConnectionAndTheNextIsOpened(_ what: String, _ bytes: [UInt8]) async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        let batch = exporter.export(.test(1))
        let first = try await server.connection(0)
        _ = try await first.batches(1)
        try await first.say(ByteBuffer(bytes: bytes))
        try await first.closed()
        #expect(try await server.connection(1).batches(1) == [batch.frame.message])
    }

    @Test("unknown messages from the server are skipped") func messagesOfALaterProtocolArePassedOver() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        exporter.export(.test(1))
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(.unknown)
        // Field 9, which is unknown, holds three bytes.
        try await connection.say(ByteBuffer(bytes: [0, 0, 0, 5, 0x4a, 3, 1, 2, 3]))
        try await connection.say(.ack([1]))
        try await eventually("the acknowledgement after them is processed") {
            exporter.statistics.balance.acknowledged.flows == 1
        }
        #expect(exporter.statistics.connections == 1)
    }

    // MARK: - Going away

    @Test("new batches after GoAway are sent on the next connection", arguments: [UInt32(0), 1])
    func afterGoAwayTheNextConnectionTakesWhatIsNew(_ supportedVersion: UInt32) async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        exporter.export(.test(1))
        let first = try await server.connection(0)
        _ = try await first.batches(1)
        try await first.say(.goAway(reason: "rolling", supportedProtocolVersion: supportedVersion))
        // An acknowledgement of an unknown batch: once it is counted, the agent has read the `GoAway` before it.
        try await first.say(.ack([99]))
        try await eventually("the server's message is processed") { exporter.statistics.unknownAcknowledgements == 1 }
        let new = exporter.export(.test(2))
        try await first.say(.ack([1]))
        try await first.closed()
        #expect(first.batches.count == 1)
        let second = try await server.connection(1)
        #expect(try await second.batches(1) == [new.frame.message])
    }

    @Test("GoAway without unacknowledged batches ends the connection at once")
    func aServerThatOwesNothingIsLeftAtOnce() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        let first = try await server.connection(0)
        try await first.say(.goAway(reason: "", supportedProtocolVersion: 0))
        try await first.closed()
        _ = try await server.connection(1)
        try await eventually("the agent is connected again") { exporter.statistics.connections == 2 }
    }

    // MARK: - Silence

    @Test("a server that owes an acknowledgement and is silent for the timeout is left")
    func aServerThatOwesAnAnswerAndSaysNothingIsLeft() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true) { $0.answerTimeout = .milliseconds(200) }
        let batch = exporter.export(.test(1))
        let first = try await server.connection(0)
        try await first.closed()
        #expect(try await server.connection(1).batches(1) == [batch.frame.message])
        #expect(exporter.statistics.silentConnections >= 1)
        try await eventually("the server reads that the agent leaves") { first.isLeft }
    }

    @Test("a heartbeat of the server restarts the timeout for acknowledgements")
    func aServerThatSaysThatItIsAliveIsNotLeft() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        exporter.export(.test(1))
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        for _ in 0..<3 {
            let before = NIODeadline.now()
            #expect(try await exporter.silentSince().map { $0 <= before } == true)
            try await connection.say(.ack([]))
            try await eventually("the heartbeat restarts the timeout") {
                try await exporter.silentSince().map { $0 > before } == true
            }
        }
        #expect(exporter.statistics.connections == 1)
        #expect(exporter.statistics.silentConnections == 0)
    }

    @Test("no timeout runs while no acknowledgement is owed") func aServerThatOwesNothingMayBeSilent() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        let connection = try await server.connection(0)
        #expect(try await exporter.silentSince() == nil)
        exporter.export(.test(1))
        _ = try await connection.batches(1)
        #expect(try await exporter.silentSince() != nil)
        try await connection.say(.ack([1]))
        try await eventually("no acknowledgement is owed") { try await exporter.silentSince() == nil }
        #expect(exporter.statistics.connections == 1)
    }

    @Test("a connection survives a server that does not read for some seconds")
    func aServerThatDoesNotReadForAWhileIsNotLeft() async throws {
        let server = try RecordingServer()
        try await server.listen(isReading: false)
        let seconds = 6
        let exporter = exporter(to: server, isStarted: true) { $0.deadPeerSeconds = seconds }
        try await eventually("the agent is connected") {
            exporter.statistics.isConnected && server.connections.count == 1
        }
        try await server.connections[0].say(.welcome(.test(7)))
        // More than the kernel's socket buffers hold.
        let flows = (0..<FlowBatchBuilder.maximumFlows).map { Flow.test($0) }
        let batches = (0..<400).map { _ in exporter.export(flows) }
        // By contrast, a connection with the server's options ends when its peer has not read for `seconds`.
        var bootstrap = ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        for (option, value) in DeadPeerDetection.serverOptions(seconds: seconds) {
            bootstrap = bootstrap.channelOption(option, value: value)
        }
        let impatient = try await bootstrap.connect(host: "127.0.0.1", port: server.port).get()
        impatient.writeAndFlush(ByteBuffer(repeating: 0, count: 64 << 20), promise: nil)
        try await impatient.closeFuture.get()
        #expect(exporter.statistics.connections == 1)
        try await server.connections[0].read()
        #expect(try await server.connection(0).batches(batches.count) == batches.map(\.frame.message))
    }

    // MARK: - The bound

    @Test("there is room for flows below the limit, and again after acknowledgements")
    func thereIsRoomBelowTheBoundAndAgainAfterAcknowledgements() async throws {
        let server = try await RecordingServer.start()
        let size = ExportBatch.test(1, at: 60_000).frame.readableBytes
        let exporter = exporter(to: server, bound: size * 16)
        #expect(exporter.hasRoom && exporter.hasRoomForEvents)
        // Batches of different minutes are not merged.
        for number in 1...11 { exporter.export(.test(number), minute: number) }
        #expect(exporter.hasRoom)
        exporter.export(.test(12), minute: 12)
        #expect(!exporter.hasRoom && exporter.hasRoomForEvents)
        for number in 13...16 { exporter.export(.test(number), minute: number) }
        #expect(!exporter.hasRoomForEvents)
        #expect(!exporter.isServerBehind)
        exporter.start()
        let connection = try await server.connection(0)
        _ = try await connection.batches(16)
        #expect(exporter.isServerBehind)
        try await connection.say(.ack([1]))
        try await eventually("the spool has room for events") { exporter.hasRoomForEvents }
        #expect(!exporter.hasRoom)
        try await connection.say(.ack(Array(2...5)))
        try await eventually("the spool has room") { exporter.hasRoom }
        try await connection.say(.ack(Array(6...16)))
        try await eventually("the server is no longer behind") { !exporter.isServerBehind }
        #expect(exporter.statistics.unacknowledgedBytes == 0)
    }

    @Test("a wait for the server ends when it is no longer behind, or at the limit")
    func waitsForTheServer() async throws {
        let server = try await RecordingServer.start()
        let size = ExportBatch.test(1, at: 60_000).frame.readableBytes
        let exporter = exporter(to: server, bound: size * 16)
        // No server is behind before there is a connection.
        exporter.waitForServer(atMost: .seconds(36_000))
        for number in 1...4 { exporter.export(.test(number), minute: number) }
        exporter.start()
        let connection = try await server.connection(0)
        _ = try await connection.batches(4)
        exporter.waitForServer(atMost: .milliseconds(1))
        #expect(exporter.isServerBehind)
        let hasEnded = Atomic(false)
        let waiting = Task.detached {
            try await OwnedThread(name: "test").run { exporter.waitForServer(atMost: .seconds(36_000)) }
            hasEnded.store(true, ordering: .relaxed)
        }
        try await connection.say(.ack([1]))
        try await eventually("a batch is released") { exporter.statistics.balance.acknowledged.flows == 1 }
        // Three batches are more than an eighth of the limit; two are not.
        #expect(exporter.isServerBehind && !hasEnded.load(ordering: .relaxed))
        try await connection.say(.ack([2]))
        try await waiting.value
        #expect(!exporter.isServerBehind)
    }

    @Test("without a server, batches of the same minute are merged")
    func withoutAServerTheBatchesOfAMinuteAreMerged() async throws {
        let server = try RecordingServer()
        let size = ExportBatch.test(1).frame.readableBytes
        let exporter = exporter(to: server, bound: size * 16, isStarted: true)
        for _ in 0..<1_000 { exporter.export(.test(1)) }
        try await eventually("the batches are merged") { exporter.statistics.unacknowledgedBytes < size * 5 }
        #expect(exporter.hasRoom)
        try await server.listen()
        let connection = try await server.connection(0)
        try await eventually("all bytes have arrived") {
            try connection.batches.reduce(0) { $0 + (try SentBatch(message: $1)).reportedBytes } == 2_000_000
        }
        try await connection.say(.ack(try connection.batches.map { try SentBatch(message: $0).sequence }))
        try await eventually("the spool is empty") { exporter.statistics.unacknowledgedBytes == 0 }
        #expect(exporter.statistics.balance.acknowledged.bytes == 2_000_000)
    }

    // MARK: - Draining

    @Test("a drain without batches closes the connection and returns at once")
    func drainingNothingReturnsAtOnceAndClosesTheConnection() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        let connection = try await server.connection(0)
        #expect(try await exporter.drain(timeout: .hours(1)) == FlowAmount())
        try await connection.closed()
    }

    @Test("a drain waits for the last acknowledgement") func drainingWaitsForTheLastAcknowledgement() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        for number in 1...2 { exporter.export(.test(number)) }
        let connection = try await server.connection(0)
        _ = try await connection.batches(2)
        async let rest = exporter.drain(timeout: .hours(1))
        try await connection.say(.ack([1]))
        try await connection.say(.ack([2]))
        #expect(try await rest == FlowAmount())
        try await connection.closed()
        #expect(exporter.statistics.balance.acknowledged.flows == 2)
    }

    @Test("a drain returns the unacknowledged amount after its timeout")
    func drainingReturnsWhatIsLeftAfterItsTimeout() async throws {
        let server = try await RecordingServer.start()
        let exporter = exporter(to: server, isStarted: true)
        for number in 1...3 { exporter.export([.test(number), .test(number + 10)]) }
        let connection = try await server.connection(0)
        _ = try await connection.batches(3)
        try await connection.say(.ack([2]))
        try await eventually("one batch is acknowledged") { exporter.statistics.balance.acknowledged.flows == 2 }
        #expect(try await exporter.drain(timeout: .milliseconds(50)) == FlowAmount(flows: 4, bytes: 8_000))
        try await connection.closed()
    }

    @Test("a drain shortens the delay before the next attempt") func drainingHurriesToConnect() async throws {
        let server = try RecordingServer()
        let exporter = exporter(to: server, isStarted: true) {
            $0.backoff = Backoff(initial: .seconds(86_400), maximum: .seconds(86_400))
        }
        exporter.export(.test(1))
        try await eventually("an attempt has failed") { exporter.statistics.failedConnections == 1 }
        async let rest = exporter.drain(timeout: .hours(1))
        // Without hurrying, the second attempt would be due hours later.
        try await eventually("further attempts have failed") { exporter.statistics.failedConnections >= 4 }
        try await server.listen()
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(.ack([1]))
        #expect(try await rest == FlowAmount())
    }

    @Test("no connection is opened after a drain") func afterDrainingNoConnectionIsOpened() async throws {
        let server = try RecordingServer()
        let exporter = exporter(to: server, isStarted: true)
        exporter.export(.test(1))
        try await eventually("an attempt has failed") { exporter.statistics.failedConnections >= 1 }
        #expect(try await exporter.drain(timeout: .zero) == FlowAmount(flows: 1, bytes: 2_000))
        try await server.listen()
        // A further attempt would be made by then: while draining, each wait is at most 1 s.
        try await exporter.eventLoop.scheduleTask(in: .seconds(1)) {}.futureResult.get()
        // An attempt whose connection was being opened may have succeeded; it is closed.
        let last = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connect(host: "127.0.0.1", port: server.port).get()
        let hello = Hello(nodeName: "last", agentID: .random(), softwareVersion: "test").frame()
        try await last.writeAndFlush(hello)
        try await eventually("the server reads the last Hello") {
            server.connections.contains { $0.hello == hello.message }
        }
        #expect(!exporter.statistics.isConnected)
        #expect(server.connections.count <= 2 && server.connections.allSatisfy { $0.batches.isEmpty })
        try await last.close()
    }

    @Test("an attempt that a drain overtakes connects to no server")
    func overtakenAttempt() async throws {
        let server = try RecordingServer()
        let isAsked = Atomic(false)
        let isAnswered = Atomic(false)
        let mayAnswer = DispatchSemaphore(value: 0)
        let exporter = exporter(to: server, isStarted: true) {
            $0.resolve = { host, port in
                isAsked.store(true, ordering: .releasing)
                mayAnswer.wait()
                defer { isAnswered.store(true, ordering: .releasing) }
                return try ServerAddresses.resolve(host: host, port: port)
            }
        }
        try await eventually("an attempt has begun") { isAsked.load(ordering: .acquiring) }
        _ = try await exporter.drain(timeout: .zero)
        try await server.listen()
        mayAnswer.signal()
        try await eventually("the name is resolved") { isAnswered.load(ordering: .acquiring) }
        // Where the attempt went on, it would connect within a few turns of its loop.
        for _ in 0..<50 { try await exporter.eventLoop.submit {}.get() }
        let later = self.exporter(to: server, isStarted: true)
        _ = try await server.connection(0)
        #expect(server.connections.count == 1)
        #expect(exporter.statistics.connections == 0 && exporter.statistics.failedConnections == 0)
        _ = try await later.drain(timeout: .zero)
    }

    // MARK: -

    private func exporter(
        host: String = "127.0.0.1", to server: RecordingServer, bound: Int = 16 << 20,
        isStarted: Bool = false, _ configure: (inout FlowExporter.Configuration) -> Void = { _ in }
    ) -> FlowExporter {
        var configuration = FlowExporter.Configuration.test(host: host, port: server.port)
        configuration.maximumUnacknowledgedBytes = bound
        configure(&configuration)
        let exporter = FlowExporter(
            configuration: configuration, hello: Self.hello, group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        if isStarted { exporter.start() }
        return exporter
    }
}

extension FlowExporter {
    /// Exports a batch of these flows and returns it.
    @discardableResult
    func export(_ flows: [Flow], minute: Int = 0) -> ExportBatch {
        var exported = ExportBatch.test(0)
        let collected = flows.reduce(into: FlowAmount()) { $0.add($1) }
        export(collected, of: .scrape) { sequence in
            exported = .test(sequence, flows, at: UInt64(minute) * 60_000)
            return exported
        }
        return exported
    }

    @discardableResult
    func export(_ flow: Flow, minute: Int = 0) -> ExportBatch { export([flow], minute: minute) }
}

extension ByteBuffer {
    /// A frame's message, without its length.
    var message: ByteBuffer? { getSlice(at: readerIndex + 4, length: readableBytes - 4) }
}
