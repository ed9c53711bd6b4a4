// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEndTests {
    /// Two hundred agents, two servers behind one name and a ClickHouse that takes its time, one of which fails.
    @Test("every byte of two hundred agents is stored once, whatever fails", arguments: Fleet.Fault.allCases)
    func fleet(_ fault: Fleet.Fault) async throws {
        let clickHouse = fault == .clickHouseIsKilled ? try await ClickHouseProcess.start() : nil
        let database =
            if let clickHouse { try await TestDatabase.make(in: clickHouse) } else { try await TestDatabase.make() }
        try await database.query(
            String(contentsOf: Repository.file("deploy/clickhouse/003_deduplication_window.sql"), encoding: .utf8))
        if clickHouse == nil {
            // The fate of a block that is older than ClickHouse is uncertain.
            try await eventually("ClickHouse has run for half a minute") {
                try await database.rows("SELECT uptime() > 30") == [["1"]]
            }
        }
        try await Lab.run { lab in
            try await lab.makeServersName(secondPort: Fleet.ports[1])
            var fleet = try await Fleet(lab, database, clickHouse)
            try await fleet.awaitInserts()
            try await fleet.suffer(fault)
            try await fleet.awaitInserts()
            let report = try await fleet.stop()
            let stored = try await database.bytes()
            #expect(stored == report.sentBytes, "\(report)")
            #expect(report.doubtfulBatches == 0, "\(report)")
            try await fleet.clickHouse?.stop()
        }
    }
}

/// Two hundred simulated agents with their servers.
struct Fleet {
    enum Fault: CaseIterable {
        case connectionsAreCut
        case connectionsAreSilent
        case serverIsKilled
        case serverIsFrozen
        case clickHouseIsKilled
    }

    /// What `Tests/Fleet` prints.
    struct Report: Decodable {
        var sentBytes: UInt64
        var acknowledgedBytes: UInt64
        var unacknowledgedBytes: UInt64
        var connections: UInt64
        var doubtfulBatches: UInt64
    }

    static let ports = [ServerUnderTest.port, ServerUnderTest.port + 1]
    private static let agents = 200
    /// The agents' patience in seconds: a little more than a server's heartbeats are apart.
    private static let answerTimeout = 20

    /// A ClickHouse that the fleet alone uses.
    private(set) var clickHouse: ClickHouseProcess?
    private let database: TestDatabase
    private let proxy: RawHTTPServer
    private let process: ChildProcess
    private var servers: [ServerUnderTest] = []

    /// Starts servers and agents.
    init(_ lab: Lab, _ database: TestDatabase, _ clickHouse: ClickHouseProcess?) async throws {
        (self.database, self.clickHouse) = (database, clickHouse)
        // Half of the inserts under way are in ClickHouse, and half are not.
        proxy = try FaultyProxy.start(before: database.url) { request, number in
            guard request.parameter("query")?.hasPrefix("INSERT") == true else { return .none }
            return number.isMultiple(of: 2) ? .delay(.milliseconds(100)) : .delayAnswer(.milliseconds(100))
        }
        process = try lab.start(
            Repository.program("Fleet"),
            [
                "--host", Lab.serversName, "--port", "\(ServerUnderTest.port)", "--agents", "\(Self.agents)",
                "--answer-timeout", "\(Self.answerTimeout)",
            ], in: "node-a")
        for index in Self.ports.indices { servers.append(try await startServer(index)) }
    }

    private func startServer(_ index: Int) async throws -> ServerUnderTest {
        let server = try ServerUnderTest.start(
            database, endpoint: proxy.url, port: Self.ports[index], probePort: 8880 + index)
        try await server.waitUntilReady()
        return server
    }

    /// Lets something fail, and waits until it has recovered.
    mutating func suffer(_ fault: Fault) async throws {
        switch fault {
        case .connectionsAreCut:
            for _ in 0..<3 {
                try await ChildProcess.shell(
                    "ip netns exec node-a ss --kill --tcp --no-header '( dport = :\(ServerUnderTest.port) )'")
                try await awaitInserts()
            }
        case .connectionsAreSilent:
            try await ChildProcess.shell(
                """
                ip netns exec node-a nft 'table ip silence { chain output {
                  type filter hook output priority 0; tcp dport \(ServerUnderTest.port) drop; }; }'
                """)
            // Longer than the agents' patience.
            try await Task.sleep(for: .seconds(Self.answerTimeout + 5))
            try await ChildProcess.shell("ip netns exec node-a nft delete table ip silence")
        case .serverIsKilled:
            servers[0].process.signal(SIGKILL)
            _ = try await servers[0].process.wait()
            servers.remove(at: 0)
            try await awaitInserts()
            servers.insert(try await startServer(0), at: 0)
        case .serverIsFrozen:
            let frozen = servers.removeFirst()
            frozen.process.signal(SIGSTOP)
            try await awaitInserts()
            frozen.process.signal(SIGCONT)
            servers.insert(frozen, at: 0)
        case .clickHouseIsKilled:
            try await clickHouse?.kill()
            clickHouse = try await clickHouse?.restart()
        }
    }

    /// Waits until all agents are connected, and the servers insert what they send.
    func awaitInserts() async throws {
        try await eventually("\(Self.agents) agents are connected") {
            try await sum("kubenetmon_server_connected_agents") >= Self.agents
        }
        let before = try await sum("kubenetmon_worker_inserted_bytes_total")
        try await eventually("servers insert what agents send") {
            try await sum("kubenetmon_worker_inserted_bytes_total") > before
        }
    }

    private func sum(_ metric: String) async throws -> UInt64 {
        var sum: UInt64 = 0
        for server in servers { sum += try await server.metric(metric) }
        return sum
    }

    /// Stops agents and servers once every batch is acknowledged.
    func stop() async throws -> Report {
        process.signal(SIGTERM)
        let code = try await process.wait()
        guard code == 0, let line = process.output.split(separator: "\n").last(where: { $0.hasPrefix("{") }) else {
            throw TestEnvironmentError("the fleet exited with \(code): \(process.output)")
        }
        for server in servers { try await server.stop() }
        return try JSONDecoder().decode(Report.self, from: Data(line.utf8))
    }
}
