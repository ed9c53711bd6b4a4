// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

/// Two servers behind one name, and what makes agents send a batch twice: no byte is stored twice.
extension EndToEndTests {
    /// Runs two servers, agents on both nodes and traffic while `disturb` runs, and returns the bytes that the nodes'
    /// firewalls counted once every batch is acknowledged.
    private func sentWithTwoServers(
        _ database: TestDatabase, endpoint: String? = nil, extraKeys: String = "",
        disturb: (_ lab: Lab, _ servers: inout [ServerUnderTest]) async throws -> Void
    ) async throws -> UInt64 {
        var sent: UInt64 = 0
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            var (servers, agents) = try await lab.startTwoServersAndAgents(
                database, endpoint: endpoint, extraKeys: extraKeys)
            let traffic = try ["client-1", "client-2"].map { pod in
                try lab.start(
                    Repository.program("Churn"), ["tcp", "10.244.1.10", "8080", "100", "3600", "0", "0"], in: pod)
            }
            try await eventually("rows are stored") { try await database.rowCount() > 0 }
            try await disturb(lab, &servers)
            for client in traffic {
                #expect(client.isRunning, "\(client.output)")
                client.signal(SIGKILL)
            }
            sent = try await lab.countersAtRest().values.reduce(0) { $0 + $1.bytes }
            for node in ["node-a", "node-b"] {
                #expect(try await lab.metric("kubenetmon_agent_lost_bytes_total", on: node) == 0)
                #expect(try await lab.metric("kubenetmon_agent_doubtful_batches_total", on: node) == 0)
            }
            for agent in agents { try await lab.stop(agent) }
            for server in servers { try await server.stop() }
            far.signal(SIGKILL)
        }
        return sent
    }

    /// Returns how often agents have connected to the servers.
    private func connections(_ servers: [ServerUnderTest]) async throws -> UInt64 {
        var sum: UInt64 = 0
        for server in servers { sum += try await server.metric("kubenetmon_server_connections_total") }
        return sum
    }

    @Test("agents stay with the server that holds their batches while ClickHouse is away, whatever their age")
    func outageWithTwoServers() async throws {
        var clickHouse = try await ClickHouseProcess.start()
        let database = try await TestDatabase.make(in: clickHouse)
        try await database.query(
            String(contentsOf: Repository.file("deploy/clickhouse/003_deduplication_window.sql"), encoding: .utf8))
        let sent = try await sentWithTwoServers(database, extraKeys: "max_connection_age: 1s") { _, servers in
            try await eventually("aged connections have been replaced") { try await connections(servers) > 6 }
            try await clickHouse.kill()
            // Several times the connections' age, and more than the age at which a batch keeps its agent.
            try await eventually("batches have waited for fifteen seconds") {
                var oldest: [Double] = []
                for server in servers {
                    let text = MetricsText(try await server.probe("/metrics").body)
                    oldest.append(text.sum(of: "kubenetmon_worker_oldest_batch_age_seconds"))
                }
                return oldest.contains { $0 > 15 }
            }
            clickHouse = try await clickHouse.restart()
        }
        #expect(try await database.bytes() == sent)
        try await clickHouse.stop()
    }

    /// Kills one server after the other while inserts are under way, half of which ClickHouse has already, and half not.
    @Test("a server that is killed stores nothing twice, whether or not ClickHouse has what it was inserting")
    func killedServers() async throws {
        let database = try await TestDatabase.make()
        try await database.query(
            String(contentsOf: Repository.file("deploy/clickhouse/003_deduplication_window.sql"), encoding: .utf8))
        let proxy = try FaultyProxy.start(before: database.url) { request, number in
            guard request.parameter("query")?.hasPrefix("INSERT") == true else { return .none }
            return number.isMultiple(of: 2) ? .delay(.milliseconds(300)) : .delayAnswer(.milliseconds(300))
        }
        // A block that is older than ClickHouse could have been lost in a restart: its fate would be uncertain.
        try await eventually("ClickHouse has run for a minute") {
            try await database.rows("SELECT uptime() > 60") == [["1"]]
        }
        var settled: UInt64 = 0
        let sent = try await sentWithTwoServers(database, endpoint: proxy.url) { lab, servers in
            for _ in 0..<4 {
                var killed = 0
                try await eventually("agents have batches under way at a server") {
                    for index in servers.indices {
                        let agents = try await servers[index].metric("kubenetmon_server_connected_agents")
                        let rows = try await servers[index].metric("kubenetmon_worker_queued_rows")
                        killed = index
                        if agents > 0 && rows > 0 { return true }
                    }
                    return false
                }
                let other = 1 - killed
                settled += try await servers[killed].metric("kubenetmon_server_settled_batches_total")
                #expect(try await servers[killed].metric("kubenetmon_server_uncertain_batches_total") == 0)
                servers[killed].process.signal(SIGKILL)
                _ = try await servers[killed].process.wait()
                try await eventually("both agents are at the other server, which receives batches again") {
                    try await servers[other].metric("kubenetmon_server_connected_agents") == 2
                }
                let before = try await servers[other].metric("kubenetmon_worker_inserted_bytes_total")
                try await eventually("the other server inserts what they send") {
                    try await servers[other].metric("kubenetmon_worker_inserted_bytes_total") > before
                }
                servers[killed] = try ServerUnderTest.start(
                    database, endpoint: proxy.url, port: ServerUnderTest.port + killed, probePort: 8880 + killed)
                try await servers[killed].waitUntilReady()
            }
            try await eventually("blocks of killed servers are settled") {
                var sum = settled
                for server in servers { sum += try await server.metric("kubenetmon_server_settled_batches_total") }
                return sum > 0
            }
            for server in servers {
                #expect(try await server.metric("kubenetmon_server_uncertain_batches_total") == 0)
            }
        }
        #expect(try await database.bytes() == sent)
        // Fences leave rows without bytes.
        #expect(try await database.rows("SELECT count() > 0 FROM network_flows_0 WHERE bytes = 0") == [["1"]])
    }

    @Test("agents return to the server that holds their batches when connections are cut under load")
    func cutConnections() async throws {
        let database = try await TestDatabase.make()
        let sent = try await sentWithTwoServers(database) { _, servers in
            for _ in 0..<10 {
                let before = try await connections(servers)
                for node in ["node-a", "node-b"] {
                    try await ChildProcess.shell(
                        "ip netns exec \(node) ss --kill --tcp --no-header '( dport = :8884 or dport = :8885 )'")
                }
                try await eventually("both agents have connected again") {
                    try await connections(servers) >= before + 2
                }
            }
        }
        #expect(try await database.bytes() == sent)
    }
}
