// SPDX-License-Identifier: Apache-2.0

import FlowExport
import FlowIngest
import FlowWire
import Glibc
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// Floods from one address, and an honest agent at another.
@Suite(.serialized) struct FloodTests {
    private static let flooder = "127.0.0.2"

    /// Separate from the group of all other tests, whose deadlines are short.
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    /// Returns how many connections this process can hold both ends of, at most `wanted`. With more than 1,300
    /// descriptors it would be killed by a signal when another test starts a program, because Foundation's `Process`
    /// reads the last name in /proc/self/fd beyond its buffer. `make bench-server CASES=agents10k` opens thousands.
    private static func connections(_ wanted: Int) -> Int {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return min(wanted, (Int(min(limit.rlim_max, 1 << 20)) - 600) / 3)
    }

    private func flood(
        _ ingest: TestIngest, connections: Int, _ bytes: @escaping @Sendable (Int) -> [ByteBuffer] = { _ in [] }
    ) async throws -> [TestAgent] {
        try await withThrowingTaskGroup(of: TestAgent.self) { group in
            var agents: [TestAgent] = []
            for number in 0..<connections {
                if number >= 64, let agent = try await group.next() { agents.append(agent) }
                group.addTask {
                    let agent = try await TestAgent.connect(to: ingest.address, from: Self.flooder, on: Self.group)
                    // The server may have closed the connection already.
                    for bytes in bytes(number) { try? await agent.send(bytes) }
                    return agent
                }
            }
            for try await agent in group { agents.append(agent) }
            return agents
        }
    }

    /// Checks that an honest agent gets its batches through.
    private func expectService(_ ingest: TestIngest) async throws {
        let agent = ExporterUnderTest(to: ingest.address, node: "honest")
        for number in 1...20 { agent.export(number) }
        let deliveries = try await ingest.deliveries(20, from: "honest")
        BatchReceipt.acknowledge(deliveries.map(\.receipt))
        try await agent.acknowledged(20)
        try await agent.stop()
    }

    @Test("hundreds of silent connections do not delay an agent", arguments: [false, true])
    func hundredsOfConnectionsThatSayNothing(_ isEncrypted: Bool) async throws {
        let certificates = try await TestCertificates()
        let count = Self.connections(400)
        let ingest = try await TestIngest.start(helloDeadline: .seconds(2), group: Self.group) {
            if isEncrypted { $0.tls = certificates.serverFiles() }
            $0.limits.handshakeDeadline = .seconds(2)
            $0.limits.connectionsPerSource = count / 2
        }
        let silent = try await flood(ingest, connections: count)
        let agent = ExporterUnderTest(to: ingest.address, node: "honest") {
            if isEncrypted { $0.tls = .init(files: certificates.agentFiles()) }
        }
        for number in 1...20 { agent.export(number) }
        BatchReceipt.acknowledge(try await ingest.deliveries(20).map(\.receipt))
        try await agent.acknowledged(20)
        // On a busy machine the honest agent is late too, and reconnects.
        try await eventually("all connections are counted and closed") {
            ingest.server.statistics.errors.values.reduce(0, +) >= count
                && ingest.server.statistics.openConnections == 1
        }
        // Some were closed for their silence before others connected.
        #expect(
            Set(ingest.server.statistics.errors.keys)
                .isSubset(of: ["too_many_from_source", isEncrypted ? "tls_timeout" : "no_hello"]))
        try await eventually("all peers see their connection closed") { silent.allSatisfy { !$0.channel.isActive } }
        try await agent.stop()
    }

    @Test("connections are limited for one source and for all")
    func thereIsABoundForOneSourceAndOneForAll() async throws {
        let ingest = try await TestIngest.start(group: Self.group) {
            $0.limits.connectionsPerSource = 30
            $0.limits.connections = 40
        }
        let agents = try await flood(ingest, connections: 50)
        try await eventually("the connections above the limit per source are rejected") {
            ingest.server.statistics.errors == ["too_many_from_source": 20]
        }
        #expect(ingest.server.statistics.openConnections == 30)
        var others: [TestAgent] = []
        for _ in 0..<15 { others.append(try await TestAgent.connect(to: ingest.address)) }
        try await eventually("the connections above the total limit are rejected") {
            ingest.server.statistics.errors == ["too_many_from_source": 20, "too_many_connections": 5]
        }
        #expect(ingest.server.statistics.openConnections == 40)
        // The oldest connections were evicted for the last five.
        for agent in agents { try? await agent.channel.close() }
        try await eventually("connections are closed and no longer counted") {
            ingest.server.statistics.openConnections == 15
        }
        try await expectService(ingest)
        withExtendedLifetime(others) {}
    }

    @Test("silent connections take no place from agents")
    func silentConnections() async throws {
        let ingest = try await TestIngest.start(group: Self.group) {
            $0.limits.connectionsPerSource = 100
            $0.limits.connections = 100
        }
        let first = try await TestAgent.connect(to: ingest.address, node: "first", on: Self.group)
        try await ingest.connectedAgents(1)
        let silent = try await flood(ingest, connections: 99)
        try await eventually("the connection limit is reached") { ingest.server.statistics.openConnections == 100 }
        let second = try await TestAgent.connect(to: ingest.address, node: "second", on: Self.group)
        try await ingest.connectedAgents(2)
        try await eventually("one connection is evicted") {
            ingest.server.statistics.errors == ["too_many_connections": 1]
        }
        #expect(first.channel.isActive && second.channel.isActive)
        #expect(silent.count { $0.channel.isActive } >= 98)
        try await expectService(ingest)
    }

    @Test("single bytes do not keep connections open") func aByteNowAndThenKeepsNoConnection() async throws {
        let ingest = try await TestIngest.start(group: Self.group) { $0.limits.idleDeadline = .seconds(2) }
        let slow = try await flood(ingest, connections: 100) { number in
            [.hello(node: "slow-\(number)"), ByteBuffer(integer: UInt32(1_000))]
        }
        let dripping = Task {
            while !Task.isCancelled {
                for agent in slow { try? await agent.send(ByteBuffer(bytes: [0])) }
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
        try await expectService(ingest)
        try await eventually("the slow connections are closed") { slow.allSatisfy { !$0.channel.isActive } }
        dripping.cancel()
        try await eventually("no connection is open") { ingest.server.statistics.openConnections == 0 }
        // On a busy machine the honest agent is too slow as well, and reconnects.
        #expect(ingest.server.statistics.errors.keys.sorted() == ["idle"])
        #expect(ingest.server.statistics.errors["idle", default: 0] >= 100)
    }

    @Test("unfinished frames take no more memory than the limit of their source")
    func framesThatAreNeverFinishedTakeNoMoreMemoryThanASourceMay() async throws {
        let ingest = try await TestIngest.start(group: Self.group) { $0.limits.unfinishedBytesPerSource = 4 << 20 }
        var almost = ByteBuffer(integer: UInt32(1 << 20))
        almost.writeRepeatingByte(0, count: (1 << 20) - 1)
        let frame = almost
        let held = try await flood(ingest, connections: 60) { [.hello(node: "node-\($0)"), frame] }
        try await eventually("most frames are discarded") { ingest.server.statistics.errors["unfinished_frames"] == 57 }
        // With its length field, each frame takes 3 bytes more than 1 MiB: three fit 4 MiB, four do not.
        #expect(ingest.server.statistics.errors.count == 1)
        try await expectService(ingest)
        withExtendedLifetime(held) {}
    }

    @Test("a frame before Hello is limited to the maximum length of Hello")
    func anUnfinishedFrameBeforeHelloIsShort() async throws {
        let ingest = try await TestIngest.start(group: Self.group)
        let agent = try await TestAgent.connect(to: ingest.address)
        try await agent.send(ByteBuffer(integer: UInt32(Hello.maximumLength + 1)))
        try await agent.closed()
        #expect(ingest.server.statistics.errors == ["frame_too_long": 1])
    }

    @Test("a flood of small batches is held back until they are stored")
    func aFloodOfTinyBatchesIsHeldBackUntilTheyAreStored() async throws {
        let ingest = try await TestIngest.start(group: Self.group) { $0.limits.batchesInFlight = 64 }
        let flooder = try await TestAgent.connect(
            to: ingest.address, node: "flooder", from: Self.flooder, on: Self.group)
        var bytes = ByteBuffer()
        for sequence in 1...5_000 { bytes.writeImmutableBuffer(.batch(UInt64(sequence))) }
        flooder.channel.writeAndFlush(bytes, promise: nil)
        _ = try await ingest.deliveries(64, from: "flooder")
        try await expectService(ingest)
        try await ingest.turnLoops()
        // One read may bring more than the limit.
        #expect(ingest.deliveries(from: "flooder").count < 64 + 1_000)
        var acknowledged = 0
        try await eventually("all batches are stored") {
            let all = ingest.deliveries(from: "flooder")
            BatchReceipt.acknowledge(all.dropFirst(acknowledged).map(\.receipt))
            acknowledged = all.count
            return all.count == 5_000
        }
    }

    @Test("a flood of short connections does not delay an agent and leaves none open")
    func aFloodOfIntroductions() async throws {
        let ingest = try await TestIngest.start(group: Self.group)
        for round in 0..<10 {
            let agents = try await flood(ingest, connections: 100) { [.hello(node: "node-\(round)-\($0)")] }
            for agent in agents { try? await agent.channel.close() }
        }
        try await expectService(ingest)
        try await eventually("no connection is open") { ingest.server.statistics.openConnections == 0 }
        #expect(ingest.server.statistics.connections == 1_001)
    }
}
