// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import Labeling
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse

private let tooLarge = RawHTTPServer.Answer.status(413, "<html>413 Request Entity Too Large</html>")

/// Starts a proxy that rejects bodies above `limit` in front of a database; `fault` decides the fault of other
/// requests.
private func proxy(
    before database: TestDatabase, limit: Int,
    _ fault: @escaping @Sendable (RawHTTPServer.Request) -> FaultyProxy.Fault = { _ in .none }
) throws -> RawHTTPServer {
    try FaultyProxy.start(before: database.url) { request, _ in
        request.body.count > limit ? .answer(tooLarge) : fault(request)
    }
}

extension ClickHouseClient.Configuration {
    fileprivate init(_ database: TestDatabase, over endpoints: [String]) {
        self.init(database)
        self.endpoints = endpoints
    }
}

/// Makes a block of flows whose rows differ in every column that a table can have.
private func variousBlock(_ number: Int, flows: Int) -> FlowBlock {
    var block = FlowBlock(environment: "testing", flagNames: ["nat", "proxy"], dayOf: lastSecondOfADay)
    for flow in 0..<flows {
        func endpoint(_ side: String, _ port: UInt16) -> LabeledEndpoint {
            let bits = UInt64(number * 1_000 + flow)
            return LabeledEndpoint(
                labels: kept(podLabels("\(side)-\(number)-\(flow)")),
                address: flow.isMultiple(of: 3)
                    ? IPAddress(bits: UInt128(bits) << 64 | 1) : IPAddress(v4: UInt32(bits)),
                port: port)
        }
        block.append(
            LabeledFlow(
                transport: flow.isMultiple(of: 2) ? .tcp : .udp, local: endpoint("local", UInt16(flow)),
                remote: endpoint("remote", 443), connectionClass: .intraVPC,
                flags: ConnectionFlags(rawValue: UInt64(flow % 4)),
                sent: FlowCounters(packets: 1, bytes: UInt64(flow + 1)), received: FlowCounters(packets: 2, bytes: 7)),
            observedAt: lastSecondOfADay - UInt32(60 * flow))
    }
    return block
}

@Suite struct TooLargeTests {
    @Test(
        "a body that a proxy rejects for its size is sent in halves, with every row once",
        arguments: InsertCompression.allCases)
    func halves(compression: InsertCompression) async throws {
        let (direct, database) = (try await TestDatabase.make(), try await TestDatabase.make())
        for database in [direct, database] {
            try await database.setWindow()
            try await database.query(
                String(contentsOf: Repository.file("deploy/clickhouse/002_extended_columns.sql"), encoding: .utf8))
        }
        let proxy = try proxy(before: database, limit: 3_000)
        var refused = 0
        for (target, endpoint) in [(direct, direct.url), (database, proxy.url)] {
            let test = try InserterUnderTest(
                ClickHouseClient.Configuration(target, over: [endpoint]), workers: 2, columns: FlowColumn.allCases
            ) { $0.compression = compression }
            for number in 0..<3 { test.submit(number, variousBlock(number, flows: 50)) }
            #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
            #expect(test.completed == [0, 1, 2])
            let statistics = test.inserter.statistics
            #expect(test.blocks.stored.rows == 300 && test.blocks.stored.flows == 150)
            #expect(test.blocks.stored.reportedBytes == 3 * (50 * 51 / 2 + 50 * 7))
            #expect(test.blocks.queuedBytes == 0 && test.blocks.queuedRows == 0 && test.blocks.queuedBlocks == 0)
            #expect(test.blocks.pendingFlows == 0 && test.blocks.pendingBytes == 0 && test.blocks.rejected.isEmpty)
            #expect(statistics.lastError == nil)
            refused = Int(statistics.failedAttempts["too_large", default: 0])
            if refused > 0 {
                #expect(statistics.failedAttempts.count == 1 && statistics.failedAttemptsByClass[.content] != nil)
                // One warning, whatever the number of rejections.
                #expect(test.warnings.count == 1 && test.warnings.first?.contains("client_max_body_size") == true)
            }
        }
        #expect(refused > 0)
        let sums = """
            SELECT count(), sum(bytes), sum(packets), countIf(localIPv6 != '::'), sum(length(connectionFlags)),
                sum(cityHash64(* EXCEPT connectionFlags)), sum(cityHash64(toString(connectionFlags)))
            FROM network_flows_0
            """
        #expect(try await database.rows(sums) == direct.rows(sums))
        #expect(try await database.rows(sums).first?.first == "300")
    }

    @Test("bodies as large as a rejected one are split without being sent") func knownSize() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let proxy = try proxy(before: database, limit: 6_000)
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        test.submit(0, flows: 300)
        try await eventually("the first block is stored") { test.completed == [0] }
        let refused = test.inserter.statistics.failedAttempts["too_large", default: 0]
        for number in 1..<4 { test.submit(number, flows: 300) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        // The sizes of halves differ a little.
        #expect(test.inserter.statistics.failedAttempts["too_large", default: 0] <= refused + 3)
        #expect(try await database.counts() == [["2400", "2400", "360000"]])
    }

    @Test("a body is split down to single rows, and only a row that is too large itself is lost")
    func singleRows() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let proxy = try proxy(before: database, limit: 20_000)
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        var generator = SeededGenerator(seed: 1)
        // Random letters, which no compression makes small enough.
        let name = String(
            (0..<40_000).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789".randomElement(using: &generator) ?? "a" })
        let flows =
            (0..<50).map { labeledFlow(podLabels("\($0)")) } + [labeledFlow(podLabels(name), sent: FlowCounters())]
        test.submit(1, flowBlock(flows))
        test.submit(2)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1, 2])
        #expect(test.blocks.rejected.keys.sorted() == ["too_large"])
        #expect(test.blocks.rejected["too_large"]?.rows == 1)
        #expect(test.blocks.rejected["too_large"]?.reportedBytes == 200)
        #expect(test.blocks.stored.rows == 102 && test.blocks.stored.reportedBytes == 51 * 300)
        let lost = test.blocks.rejected["too_large"]?.flows ?? 0
        #expect(test.blocks.stored.flows + lost == 52)
        #expect(try await database.counts() == [["102", "102", "15300"]])
        #expect(test.warnings.contains { $0.contains("rows are counted as lost") && $0.contains("rows=1") })
    }

    @Test("halves whose responses are lost are stored once") func lostAnswers() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let seen = Mutex<Set<String>>([])
        let proxy = try proxy(before: database, limit: 6_000) { request in
            guard let token = request.parameter("insert_deduplication_token") else { return .none }
            return seen.withLock { $0.insert(token).inserted } ? .cutAnswer(afterBytes: 0) : .none
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        test.submit(1, flows: 300)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.inserter.statistics.failedAttempts["connection", default: 0] >= 2)
        #expect(try await database.counts() == [["600", "600", "90000"]])
        // Each half keeps a token of its own, derived from the whole batch's.
        let whole = try #require(proxy.inserts.first?.parameter("insert_deduplication_token"))
        let tokens = seen.withLock { $0 }
        #expect(tokens.allSatisfy { $0.hasPrefix("\(whole)-") } && tokens.count >= 2)
    }

    @Test("a body that an earlier attempt may have stored is not split, and needs an operator")
    func mayBeStored() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let limit = Mutex<Int?>(nil)
        let proxy = try FaultyProxy.start(before: database.url) { request, number in
            if number == 0 { return .cutAnswer(afterBytes: 0) }
            return limit.withLock { request.body.count > $0 ?? 0 } ? .answer(tooLarge) : .none
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        test.submit(1, flows: 300)
        try await eventually("the inserter reports that operator action is needed") {
            test.inserter.statistics.failedAttempts["too_large", default: 0] >= 3
                && test.inserter.load.problem?.contains("client_max_body_size") == true
        }
        limit.withLock { $0 = .max }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1])
        #expect(try await database.counts() == [["600", "600", "90000"]])
        #expect(Set(proxy.inserts.map { $0.parameter("insert_deduplication_token") }).count == 1)
    }

    /// Starts a proxy that loses its first response and rejects bodies above `limit`.
    private func losingProxy(before database: TestDatabase, limit: @escaping @Sendable () -> Int) throws
        -> RawHTTPServer
    {
        try FaultyProxy.start(before: database.url) { request, number in
            if number == 0 { return .cutAnswer(afterBytes: 0) }
            return request.body.count > limit() ? .answer(tooLarge) : .none
        }
    }

    @Test("a body that is kept whole blocks no worker, and other bodies are split before they are sent")
    func setAside() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let limit = Mutex(6_000)
        let proxy = try losingProxy(before: database) { limit.withLock { $0 } }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        test.submit(1, flows: 300)
        try await eventually("the batch is rejected") {
            test.inserter.statistics.failedAttempts["too_large", default: 0] >= 1
        }
        for number in 2..<5 { test.submit(number, flows: 400) }
        try await eventually("the only worker has stored the other batches") { test.completed == [2, 3, 4] }
        let whole = try #require(proxy.inserts.first)
        #expect(proxy.inserts.filter { $0.body.count >= whole.body.count }.allSatisfy { $0.target == whole.target })
        #expect(test.blocks.oldestWait == nil && test.blocks.oldestAge != nil)
        #expect(test.blocks.pendingFlows == 300 && test.blocks.queuedRows == 600)
        limit.withLock { $0 = .max }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1, 2, 3, 4] && test.inserter.statistics.possiblyDoubled.blocks == 0)
        #expect(try await database.counts() == [["3000", "3000", "450000"]])
    }

    @Test("a body that another endpoint may have stored is not split") func otherEndpoint() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let isMended = Mutex(false)
        let losing = try FaultyProxy.start(before: database.url) { _, _ in
            isMended.withLock { $0 } ? .none : .answer(.hangUp)
        }
        let strict = try proxy(before: database, limit: 6_000)
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [losing.url, strict.url]))
        test.submit(1, flows: 300)
        try await eventually("the other endpoint has rejected the batch four times") {
            test.inserter.statistics.failedAttempts["too_large", default: 0] >= 4
        }
        isMended.withLock { $0 = true }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.blocks.stored.blocks == 1)
        #expect(try await database.counts() == [["600", "600", "90000"]])
    }

    @Test("a body that may be stored is split after the limit, and its bytes are counted as possibly doubled")
    func doubled() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let proxy = try losingProxy(before: database) { 6_000 }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url])) {
            $0.sizeRefusals.longestSetAside = .milliseconds(300)
        }
        test.submit(1, flows: 300)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.inserter.statistics.possiblyDoubled.rows == 600)
        #expect(test.inserter.statistics.possiblyDoubled.reportedBytes == 90_000)
        #expect(test.warnings.contains { $0.contains("may be stored twice") && $0.contains("rows=600") })
        #expect(try await database.counts() == [["1200", "600", "180000"]])
        // The halves' tokens are derived from the whole batch's: however often they are sent, there are at most two
        // copies.
        let whole = try #require(proxy.inserts.first?.parameter("insert_deduplication_token"))
        #expect(proxy.inserts.allSatisfy { $0.parameter("insert_deduplication_token")?.hasPrefix(whole) == true })
    }

    @Test("bodies are sent whole again after the proxy's limit was raised") func raisedLimit() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let limit = Mutex(6_000)
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            request.body.count > limit.withLock { $0 } ? .answer(tooLarge) : .none
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url])) {
            $0.sizeRefusals.probeInterval = .zero
        }
        test.submit(0, flows: 300)
        try await eventually("the batch is stored") { test.completed == [0] }
        limit.withLock { $0 = .max }
        let inserts = proxy.inserts.count
        for number in 1..<4 { test.submit(number, flows: 300) }
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(proxy.inserts.count == inserts + 3)
        #expect(try await database.counts() == [["2400", "2400", "360000"]])
    }

    @Test("the size limit is probed with one body at a time, until one is accepted") func probes() {
        var (limit, now) = (SizeLimit(), ContinuousClock.now)
        func admit(_ bytes: Int) -> SizeLimit.Admission { limit.admit(bytes, at: now) }
        #expect(admit(100) == .send)
        limit.noteRefusal(of: 100, nextProbe: now + .seconds(60))
        limit.noteRefusal(of: 80, nextProbe: now + .seconds(90))
        now += .seconds(59)
        #expect(admit(79) == .send && admit(80) == .split)
        now += .seconds(1)
        #expect(admit(80) == .probe && admit(100) == .split)
        limit.endProbe(next: now + .seconds(60))
        #expect(admit(100) == .split)
        limit.noteSuccess(of: 79)
        now += .seconds(3_600)
        #expect(admit(100) == .probe && admit(100) == .split)
        limit.noteSuccess(of: 100)
        #expect(admit(100) == .send)
    }

    @Test("a body is split if ClickHouse has no part of an earlier attempt") func notStored() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let strict = try FaultyProxy.start(before: database.url) { request, number in
            // As from a proxy that resets a connection because of a large body.
            number == 0 ? .answer(.hangUp) : request.body.count > 6_000 ? .answer(tooLarge) : .none
        }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [strict.url]))
        test.submit(1, flows: 300)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        // The part is only looked for after a second rejection, since an attempt may have been in flight at the first.
        #expect(test.inserter.statistics.failedAttempts["too_large", default: 0] >= 2)
        #expect(test.blocks.stored.rows == 600 && test.inserter.load.problem == nil)
        #expect(try await database.counts() == [["600", "600", "90000"]])
    }

    @Test("a body is split if no attempt reached ClickHouse, and sent whole if another endpoint accepts it")
    func endpoints() async throws {
        let database = try await TestDatabase.make()
        try await database.setWindow()
        let dead = try RawHTTPServer.closedURL()
        let strict = try proxy(before: database, limit: 6_000)
        let lenient = try proxy(before: database, limit: .max)
        for (endpoints, isSplit) in [([dead, strict.url], true), ([strict.url, lenient.url], false)] {
            let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: endpoints))
            test.submit(1, flows: 300)
            #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
            #expect((test.blocks.stored.blocks > 1) == isSplit)
        }
        #expect(lenient.inserts.count == 1)
        #expect(try await database.counts() == [["1200", "600", "180000"]])
    }

    @Test("a drain gives up the halves of a body like other batches") func end() async throws {
        let database = try await TestDatabase.make()
        let proxy = try proxy(before: database, limit: 6_000) { _ in .answer(.status(503, "busy")) }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database, over: [proxy.url]))
        test.submit(1, flows: 300)
        try await eventually("a half has failed") {
            test.inserter.statistics.failedAttempts["unexpected_answer", default: 0] >= 1
        }
        #expect(await test.inserter.drain(timeout: .zero) == 600)
        #expect(test.completed == [])
    }
}
