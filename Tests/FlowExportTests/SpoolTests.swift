// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import FlowExport
@testable import Retry

/// Exporters with a spool directory, and their successors after a kill. A kill is simulated by a copy of the directory
/// at some moment, which the next exporter opens.
@Suite struct SpoolTests {
    /// Short delays between attempts to use a directory.
    private static let backoff = Backoff(initial: .milliseconds(10), maximum: .milliseconds(100))

    private func exporter(
        to server: RecordingServer, in directory: String, node: String = "node-a", agentID: AgentID = .random(),
        bound: Int = 16 << 20, backoff: Backoff? = Self.backoff
    ) -> FlowExporter {
        var configuration = FlowExporter.Configuration.test(port: server.port)
        configuration.maximumUnacknowledgedBytes = bound
        configuration.spoolDirectory = directory
        configuration.spoolBackoff = backoff
        let exporter = FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: node, agentID: agentID, softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        exporter.start()
        return exporter
    }

    /// Waits until a directory's log holds `count` unacknowledged batches.
    private func waitForLog(_ folder: SpoolFolder, _ directory: String, _ count: Int) async throws {
        try await eventually("the log holds \(count) batches") { try folder.batches(in: directory).count == count }
    }

    private func agentID(of connection: RecordingServer.Connection) throws -> AgentID? {
        guard let hello = connection.hello, case .hello(let hello) = try AgentMessage(decoding: hello) else {
            return nil
        }
        return hello.agentID
    }

    private func end(_ exporter: FlowExporter) async throws {
        _ = try await exporter.drain(timeout: .zero)
        _ = try await exporter.closeSpool()
    }

    @Test("the next process sends unacknowledged batches with the same id, numbers and bytes")
    func withoutAServer() async throws {
        let (folder, server) = (try SpoolFolder(), try RecordingServer())
        let ids = (AgentID.random(), AgentID.random())
        let first = exporter(to: server, in: "\(folder.path)/a", agentID: ids.0)
        let left = (1...3).map { first.export(.test($0)) }
        try await waitForLog(folder, "a", 3)
        try folder.copy("a", to: "b")
        try await end(first)

        let second = exporter(to: server, in: "\(folder.path)/b", agentID: ids.1)
        try await eventually("the batches are restored") { second.statistics.restoredBatches == 3 }
        let new = second.export([.test(4), .test(5)])
        try await waitForLog(folder, "b", 4)
        #expect(second.statistics.balance.restored == FlowAmount(flows: 3, bytes: 6_000))
        #expect(second.statistics.balance.unacknowledged == FlowAmount(flows: 5, bytes: 10_000))
        #expect(second.statistics.balance.isBalanced)
        #expect(second.statistics.spool?.problem == nil)
        try await server.listen()

        let old = try await server.connection(0)
        #expect(try await old.batches(3) == left.map(\.frame.message))
        #expect(try agentID(of: old) == ids.0)
        try await old.say(.ack([1, 2, 3]))
        let own = try await server.connection(1)
        #expect(try await own.batches(1) == [new.frame.message])
        #expect(try agentID(of: own) == ids.1)
        try await own.say(.ack([1]))
        try await eventually("all batches are acknowledged") { second.statistics.unacknowledgedBatches == 0 }
        try await waitForLog(folder, "b", 0)
        #expect(second.statistics.balance.isBalanced && second.statistics.unacknowledgedBytes == 0)
        #expect(second.statistics.unknownAcknowledgements == 0)
        try await end(second)
        #expect(try folder.bytes(of: "b/spool").count == SpoolFormat.headerBytes)
    }

    @Test("the next process does not send acknowledged batches again")
    func acknowledgements() async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        let first = exporter(to: server, in: "\(folder.path)/a")
        let batches = (1...9).map { first.export(.test($0)) }
        let connection = try await server.connection(0)
        _ = try await connection.batches(9)
        try await connection.say(.ack([2, 4, 9, 100]))
        try await waitForLog(folder, "a", 6)
        try folder.copy("a", to: "b")
        try await end(first)
        let second = exporter(to: server, in: "\(folder.path)/b")
        let again = try await server.connection(1).batches(6)
        #expect(again == [1, 3, 5, 6, 7, 8].map { batches[$0 - 1].frame.message })
        try await end(second)
    }

    @Test("a drained agent leaves an empty log, or the unacknowledged batches")
    func orderlyEnd() async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        let first = exporter(to: server, in: "\(folder.path)/a")
        first.export(.test(1))
        let connection = try await server.connection(0)
        _ = try await connection.batches(1)
        try await connection.say(.ack([1]))
        try await eventually("the batch is acknowledged") { first.statistics.balance.acknowledged.flows == 1 }
        let left = first.export(.test(2))
        #expect(try await first.drain(timeout: .zero) == FlowAmount(flows: 1, bytes: 2_000))
        #expect(try await first.closeSpool())
        #expect(try folder.batches(in: "a").map(\.batch.frame) == [left.frame])

        let second = exporter(to: server, in: "\(folder.path)/a")
        let next = try await server.connection(1)
        #expect(try await next.batches(1) == [left.frame.message])
        try await next.say(.ack([2]))
        #expect(try await second.drain(timeout: .minutes(1)) == FlowAmount())
        #expect(try await second.closeSpool())
        #expect(try folder.batches(in: "a").isEmpty)
    }

    @Test("merged batches replace their sources in the log")
    func merging() async throws {
        let (folder, server) = (try SpoolFolder(), try RecordingServer())
        let first = exporter(to: server, in: "\(folder.path)/a", bound: 20_000)
        for number in 0..<200 { first.export([.test(number % 10), .test(50)]) }
        try await eventually("the log holds the merged batches") {
            let bytes = try folder.batches(in: "a").reduce(0) { $0 + $1.batch.amount.bytes }
            return bytes == 800_000 && first.statistics.balance.unacknowledged.bytes == bytes
                && first.statistics.balance.mergedFlows > 0
        }
        try folder.copy("a", to: "b")
        try await end(first)
        let second = exporter(to: server, in: "\(folder.path)/b", bound: 20_000)
        try await eventually("the merged batches are restored") { second.statistics.balance.restored.bytes == 800_000 }
        #expect(try folder.bytes(of: "b/spool").count < 20_000)
        try await end(second)
    }

    @Test("a log that consists mostly of acknowledged batches is rewritten")
    func shrinking() async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        let exporter = exporter(to: server, in: "\(folder.path)/a", bound: 100_000)
        let kept = exporter.export(.test(1))
        let connection = try await server.connection(0)
        let flows = (0..<100).map { Flow.test($0) }
        for sequence in UInt64(2)...100 {
            exporter.export(flows)
            _ = try await connection.batches(Int(sequence))
            try await connection.say(.ack([sequence]))
            try await eventually("the batch is acknowledged") { exporter.statistics.unacknowledgedBatches == 1 }
            #expect(exporter.statistics.spool.map { $0.logBytes < 125_000 + 2 * 5_000 } == true)
        }
        try await waitForLog(folder, "a", 1)
        #expect(try folder.batches(in: "a").map(\.batch.frame) == [kept.frame])
        #expect(exporter.statistics.spool?.errors == [:])
        try await end(exporter)
    }

    @Test("a full disk loses only the copy on disk, which is rewritten when there is space")
    func fullDisk() async throws {
        let (folder, server) = (try await SpoolFolder(kibibytes: 128), try await RecordingServer.start())
        let exporter = exporter(to: server, in: "\(folder.path)/a")
        try await eventually("the spool directory is open") { exporter.statistics.spool?.problem == nil }
        try folder.write([UInt8](repeating: 0, count: 64 << 10), to: "other")
        let flows = (0..<1000).map { Flow.test($0) }
        var frames: [ByteBuffer?] = []
        while exporter.statistics.spool?.errors[.full] == nil {
            frames.append(exporter.export(flows).frame.message)
            try await eventually("the batch is written or the disk is full") {
                try folder.batches(in: "a").count == frames.count || exporter.statistics.spool?.errors[.full] != nil
            }
        }
        #expect(exporter.statistics.spool?.problem?.contains("No space left on device") == true)
        frames.append(exporter.export(flows).frame.message)
        let connection = try await server.connection(0)
        try await connection.say(.welcome(.test(7)))
        #expect(try await connection.batches(frames.count) == frames)
        // The stale log must not restore acknowledged batches, even if there is no space for a new log.
        try await ChildProcess.shell("dd if=/dev/zero of=\(folder.path)/rest bs=4096 2>/dev/null || true")
        #expect(exporter.statistics.spool?.problem != nil)
        try await connection.say(.ack(Array(1...UInt64(frames.count))))
        try await waitForLog(folder, "a", 0)
        try folder.remove("other")
        let late = exporter.export(.test(1))
        try await eventually("the directory is used again") { exporter.statistics.spool?.problem == nil }
        try await eventually("the batch is in the log") {
            try folder.batches(in: "a").map(\.batch.frame) == [late.frame]
        }
        #expect(exporter.statistics.balance.isBalanced)
        try await end(exporter)
    }

    @Test("a log that has missed the last acknowledgements is emptied, even without space for a new one")
    func missedAcknowledgements() async throws {
        let folder = try await SpoolFolder(kibibytes: 128)
        let (agentID, eventLoop) = (AgentID.random(), MultiThreadedEventLoopGroup.singleton.next())
        let kept = Mutex((1...3).map { SpooledBatch(agentID: agentID, batch: .test($0)) })
        let spool = spool(in: "\(folder.path)/a", agentID, on: eventLoop, bound: 16 << 20)
        spool.start(usedBytes: { 0 }, exchange: { _ in kept.withLock { $0 } })
        try await waitForLog(folder, "a", 3)
        try await ChildProcess.shell("dd if=/dev/zero of=\(folder.path)/rest bs=4096 2>/dev/null || true")
        // As if all batches were acknowledged while the log could not be written.
        kept.withLock { $0 = [] }
        let flows = (0..<1000).map { Flow.test($0) }
        try await eventLoop.submit { spool.append(SpooledBatch(agentID: agentID, batch: .test(4, flows))) }.get()
        try await waitForLog(folder, "a", 0)
        #expect(spool.statistics.errors[.full] != nil)
        _ = try await eventLoop.flatSubmit { spool.close(within: .minutes(1)) }.get()
    }

    @Test("a connection is opened only after the batches of an earlier process are restored")
    func connectionsWait() async throws {
        let (folder, server) = (try SpoolFolder(), try RecordingServer())
        let id = AgentID.random()
        let first = exporter(to: server, in: "\(folder.path)/a", agentID: id)
        // More than can be restored before a connection is open.
        let flows = (0..<1000).map { Flow.test($0) }
        for _ in 0..<100 { first.export(flows, minute: 1) }
        try await waitForLog(folder, "a", 100)
        try await end(first)
        try await server.listen()
        let second = exporter(to: server, in: "\(folder.path)/a")
        #expect(try agentID(of: try await server.connection(0)) == id)
        try await end(second)
    }

    @Test("a pending write is in the log once the spool has settled")
    func settling() async throws {
        let (folder, eventLoop) = (try SpoolFolder(), MultiThreadedEventLoopGroup.singleton.next())
        let agentID = AgentID.random()
        let spool = spool(in: "\(folder.path)/a", agentID, on: eventLoop, bound: 16 << 20)
        spool.start(usedBytes: { 0 }, exchange: { $0 })
        try await settle(spool, on: eventLoop)
        let flows = (0..<1000).map { Flow.test($0) }
        for round in UInt64(1)...5 {
            let batches = (round...round + 20).map { SpooledBatch(agentID: agentID, batch: .test($0, flows)) }
            try await settle(spool, on: eventLoop) { spool.replace(with: batches) }
            #expect(try folder.batches(in: "a").map(\.key) == batches.map(\.key))
        }
        #expect(try await eventLoop.flatSubmit { spool.close(within: .minutes(1)) }.get())
    }

    @Test("the spool's thread ends when the directory is closed")
    func threadEnds() async throws {
        let (folder, eventLoop) = (try SpoolFolder(), MultiThreadedEventLoopGroup.singleton.next())
        let spool = spool(in: "\(folder.path)/a", .random(), on: eventLoop, bound: 16 << 20)
        let thread = Mutex("")
        spool.start(
            usedBytes: {
                let name = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
                thread.withLock { $0 = name ?? "" }
                return 0
            }, exchange: { $0 })
        try await settle(spool, on: eventLoop)
        let directory = "/proc/" + thread.withLock { $0 }
        #expect(try String(contentsOfFile: "\(directory)/comm", encoding: .utf8) == "spool\n")
        #expect(try await eventLoop.flatSubmit { spool.close(within: .minutes(1)) }.get())
        try await eventually("the thread has ended") { !FileManager.default.fileExists(atPath: directory) }
        // Calls that come after the end have no effect.
        try await eventLoop.submit {
            spool.append(SpooledBatch(agentID: .random(), batch: .test(1, [.test(1)])))
            spool.acknowledge([], frameBytes: 0, oldest: nil)
            spool.replace(with: [])
        }.get()
        #expect(try folder.batches(in: "a").isEmpty)
    }

    @Test("batches for which a disk is too slow are dropped from the log and written later")
    func slowDisk() async throws {
        let (folder, eventLoop) = (try SpoolFolder(), MultiThreadedEventLoopGroup.singleton.next())
        let agentID = AgentID.random()
        let flows = (0..<1000).map { Flow.test($0) }
        let batches = (1...60).map { SpooledBatch(agentID: agentID, batch: .test($0, flows)) }
        let spool = spool(in: "\(folder.path)/a", agentID, on: eventLoop, bound: 1 << 10)
        let hold = DispatchSemaphore(value: 0)
        // Blocks the spool's thread, as a disk that hangs would.
        spool.start(
            usedBytes: {
                hold.wait()
                hold.signal()
                return 0
            }, exchange: { _ in batches })
        try await eventLoop.submit {
            spool.replace(with: [])
            for batch in batches { spool.append(batch) }
        }.get()
        #expect(spool.statistics.errors == [.slow: 1])
        #expect(spool.statistics.problem?.contains("as fast as batches arrive") == true)
        hold.signal()
        try await eventually("all batches are in the log") {
            try folder.batches(in: "a").map(\.key) == batches.map(\.key)
        }
        #expect(try await eventLoop.flatSubmit { spool.close(within: .minutes(1)) }.get())
    }

    private func settle(
        _ spool: Spool, on eventLoop: any EventLoop, after body: @escaping @Sendable () -> Void = {}
    ) async throws {
        let settled = eventLoop.makePromise(of: Void.self)
        eventLoop.execute {
            body()
            spool.whenSettled(before: .now() + .minutes(1)) { settled.succeed() }
        }
        try await settled.futureResult.get()
    }

    private func spool(in directory: String, _ agentID: AgentID, on eventLoop: any EventLoop, bound: Int) -> Spool {
        Spool(
            Spool.Configuration(
                directory: directory, maximumBytes: bound, nodeName: "node-a", agentID: agentID, backoff: Self.backoff),
            eventLoop: eventLoop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test("a directory in use by another agent is taken over, with its batches, once it is free")
    func handingOver() async throws {
        let (folder, server) = (try SpoolFolder(), try RecordingServer())
        let ids = (AgentID.random(), AgentID.random())
        let first = exporter(to: server, in: "\(folder.path)/a", agentID: ids.0)
        let left = first.export(.test(1))
        try await waitForLog(folder, "a", 1)
        let second = exporter(to: server, in: "\(folder.path)/a", agentID: ids.1)
        let new = second.export(.test(2))
        try await eventually("the directory is reported as in use") { second.statistics.spool?.errors[.inUse] != nil }
        #expect(try folder.batches(in: "a").map(\.batch.frame) == [left.frame])
        try await end(first)
        try await eventually("the directory is taken over") { second.statistics.restoredBatches == 1 }
        try await waitForLog(folder, "a", 2)
        let keys = [ids.0, ids.1].map { BatchKey(agentID: $0, sequence: 1) }
        #expect(try folder.batches(in: "a").map(\.key) == keys)
        try await server.listen()
        #expect(try await server.connection(0).batches(1) == [left.frame.message])
        try await server.connection(0).say(.ack([1]))
        #expect(try await server.connection(1).batches(1) == [new.frame.message])
        try await end(second)
    }

    @Test("a directory that vanishes is created again, and batches are not restored twice")
    func vanishing() async throws {
        let (folder, server) = (try SpoolFolder(), try RecordingServer())
        let first = exporter(to: server, in: "\(folder.path)/a")
        first.export(.test(1))
        try await waitForLog(folder, "a", 1)
        try folder.copy("a", to: "b")
        try folder.copy("a", to: "c")
        try await end(first)
        // The next attempt comes late enough for another directory to be there.
        let second = exporter(to: server, in: "\(folder.path)/b", backoff: nil)
        try await eventually("the batch is restored") { second.statistics.restoredBatches == 1 }
        try folder.remove("b")
        second.export(.test(2))
        try await eventually("the missing directory is reported") { second.statistics.spool?.errors[.missing] != nil }
        // The spool may create the directory at any time.
        try await folder.move("c", over: "b")
        // Makes the spool look for its directory again, if it had created one and written both batches before.
        second.export(.test(3))
        try await waitForLog(folder, "b", 3)
        #expect(second.statistics.restoredBatches == 1 && second.statistics.balance.isBalanced)
        try await end(second)
    }

    @Test("a damaged log yields its intact batches, and the others are counted")
    func damage() async throws {
        let (folder, server) = (try SpoolFolder(), try RecordingServer())
        let first = exporter(to: server, in: "\(folder.path)/a")
        for number in 1...5 { first.export([.test(number), .test(number + 10)]) }
        try await waitForLog(folder, "a", 5)
        try folder.copy("a", to: "b")
        try await end(first)
        var bytes = try folder.bytes(of: "b/spool")
        // The last byte of the last frame.
        bytes[bytes.count - 1] ^= 1
        try folder.write(bytes, to: "b/spool")
        let second = exporter(to: server, in: "\(folder.path)/b")
        try await eventually("the undamaged batches are restored") { second.statistics.restoredBatches == 4 }
        let (spool, balance) = (try #require(second.statistics.spool), second.statistics.balance)
        #expect(balance.lost[.corruption] == FlowAmount(flows: 2, bytes: 4_000) && spool.corruptRecords == 1)
        #expect(balance.isBalanced)
        try await end(second)

        try folder.write([1, 2, 3], to: "b/spool")
        let third = exporter(to: server, in: "\(folder.path)/b")
        try await eventually("the damaged file is set aside") { third.statistics.spool?.corruptFiles == 1 }
        try await eventually("a new log file is open") { third.statistics.spool?.problem == nil }
        #expect(try folder.names(in: "b") == ["lock", "spool", "spool.corrupt.1"])
        try await end(third)
    }

    /// The log is copied at random moments while a server acknowledges some of the batches. Batches restored from a
    /// copy are recognised by agent id and number.
    @Test("a kill at any moment loses no written batch and changes none", arguments: 0..<4)
    func killsAtAnyMoment(_ seed: Int) async throws {
        let (folder, server) = (try SpoolFolder(), try await RecordingServer.start())
        var generator = SeededGenerator(seed: UInt64(seed))
        var (exported, acknowledged) = ([BatchKey: ByteBuffer](), Set<BatchKey>())
        var connectionsSeen = 0
        /// Checks the batches that have arrived, and acknowledges a share of them.
        func answer(_ share: Double) async throws {
            for (number, connection) in server.connections.enumerated() {
                guard let id = try agentID(of: connection) else { continue }
                connectionsSeen = max(connectionsSeen, number + 1)
                let sequences = try connection.batches.filter { $0.readableBytes > 0 }.map { message in
                    let key = BatchKey(agentID: id, sequence: try SentBatch(message: message).sequence)
                    #expect(exported[key] == message)
                    return key
                }
                let some = sequences.filter { _ in Double.random(in: 0..<1, using: &generator) < share }
                acknowledged.formUnion(some)
                try? await connection.say(.ack(some.map(\.sequence)))
            }
        }
        for life in 0..<6 {
            let id = AgentID.random()
            let exporter = exporter(to: server, in: "\(folder.path)/\(life)", agentID: id)
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                let batch = exporter.export(.test(.random(in: 0..<50, using: &generator)))
                exported[BatchKey(agentID: id, sequence: batch.sequence)] = batch.frame.message
                if Bool.random(using: &generator) { try await answer(0.3) }
                try await Task.sleep(for: .milliseconds(.random(in: 0...3, using: &generator)))
            }
            // The copy must not miss a batch, so every exported batch must be in the log or acknowledged first.
            let all = Set(exported.keys)
            try await eventually("all unacknowledged batches are in the log") {
                all.isSubset(of: try Set(folder.batches(in: "\(life)").map(\.key)).union(acknowledged))
            }
            try folder.copy("\(life)", to: "\(life + 1)")
            try await end(exporter)
        }
        let last = exporter(to: server, in: "\(folder.path)/6")
        try await eventually("all batches are acknowledged") {
            try await answer(1)
            return acknowledged.count == exported.count && last.statistics.unacknowledgedBatches == 0
                && last.statistics.spool?.problem == nil
        }
        #expect(acknowledged == Set(exported.keys) && last.statistics.balance.isBalanced)
        try await end(last)
    }
}
