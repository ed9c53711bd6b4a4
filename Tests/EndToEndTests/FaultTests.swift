// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// Faults between agents and the table cost no byte.
extension EndToEndTests {
    /// Runs two servers behind one name, agents on both nodes and traffic; `end` ends the server with the most agents.
    private func withTwoServers(
        _ database: TestDatabase,
        end: (_ lab: Lab, _ chosen: ServerUnderTest) async throws -> Void,
        check: (_ chosen: ServerUnderTest, _ other: ServerUnderTest, _ sent: UInt64) async throws -> Void
    ) async throws {
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let (servers, agents) = try await lab.startTwoServersAndAgents(database)
            async let near = lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 5)
            async let across = lab.churn("tcp", from: "client-2", to: "10.244.1.10", rate: 200, seconds: 5)
            var connected: [UInt64] = []
            try await eventually("both agents are connected and rows are stored") {
                connected = []
                for server in servers {
                    connected.append(try await server.metric("kubenetmon_server_connected_agents"))
                }
                let rows = try await database.rowCount()
                return connected.reduce(0, +) == 2 && rows > 0
            }
            let chosen = connected[0] >= connected[1] ? 0 : 1
            try await end(lab, servers[chosen])
            try await eventually("both agents are connected to the other server") {
                try await servers[1 - chosen].metric("kubenetmon_server_connected_agents") == 2
            }
            _ = try await (near, across)
            let sent = try await lab.countersAtRest().values.reduce(0) { $0 + $1.bytes }
            for node in ["node-a", "node-b"] {
                #expect(try await lab.metric("kubenetmon_agent_lost_bytes_total", on: node) == 0)
            }
            for agent in agents { try await lab.stop(agent) }
            try await check(servers[chosen], servers[1 - chosen], sent)
            try await servers[1 - chosen].stop()
            far.signal(SIGKILL)
        }
    }

    @Test("agents of a killed server move to the other, and no byte is lost")
    func theAgentsOfAServerThatIsKilledGoToTheOther() async throws {
        let database = try await TestDatabase.make()
        let acknowledged = Mutex(UInt64(0))
        try await withTwoServers(database) { lab, chosen in
            let nodes = ["node-a", "node-b"].filter { chosen.process.output.contains("node=\($0)") }
            let known = try await lab.acknowledgedBytes(by: chosen, to: nodes)
            acknowledged.withLock { $0 = known }
            chosen.process.signal(SIGKILL)
            _ = try await chosen.process.wait()
        } check: { _, other, sent in
            let stored = try await database.bytes()
            #expect(stored >= sent)
            // Only what the killed server had stored and not acknowledged may be stored twice; nothing else is sent
            // again.
            let inserted = try await other.metric("kubenetmon_worker_inserted_bytes_total")
            #expect(inserted <= sent - acknowledged.withLock { $0 })
            let lost = try await other.metric("kubenetmon_worker_lost_bytes_total")
            #expect(lost == 0)
        }
    }

    @Test("stopping a server under load neither loses nor doubles a byte")
    func aServerThatIsReplacedUnderLoadCostsNothingAndDoublesNothing() async throws {
        let database = try await TestDatabase.make()
        try await withTwoServers(database) { _, chosen in
            try await chosen.stop()
        } check: { chosen, other, sent in
            let stored = try await database.bytes()
            #expect(stored == sent)
            #expect(!chosen.process.output.contains("before ClickHouse has stored all rows"))
            let lost = try await other.metric("kubenetmon_worker_lost_bytes_total")
            #expect(lost == 0)
        }
    }

    @Test("every byte is stored once after an outage of ClickHouse")
    func whatClickHouseMissesWhileItIsAwayIsStoredOnceWhenItIsBack() async throws {
        var clickHouse = try await ClickHouseProcess.start()
        let database = try await TestDatabase.make(in: clickHouse)
        try await database.query(
            String(contentsOf: Repository.file("deploy/clickhouse/003_deduplication_window.sql"), encoding: .utf8))
        try await Lab.run { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
            let far = try await lab.startChurnServer(in: "web-1")
            let server = try ServerUnderTest.start(database, extraKeys: "clickhouse_max_queued_bytes: 1048576")
            try await server.waitUntilReady()
            let agent = try await lab.startAgent(
                on: "node-a", serverPort: ServerUnderTest.port, settings: ["COLLECTION_INTERVAL": "200ms"])
            let (sent, scrapes) = try await ConservationWatch.run(agents: ["node-a"], servers: [server], in: lab) {
                async let traffic = lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 500, seconds: 3)
                try await eventually("rows are stored") { try await database.rowCount() > 0 }
                try await clickHouse.kill()
                try await eventually("the agent keeps batches that it may not send") {
                    _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 4000, seconds: 0.5)
                    let granted = try await lab.metric("kubenetmon_agent_granted_bytes", on: "node-a")
                    let kept = try await lab.metric("kubenetmon_agent_unacknowledged_frame_bytes", on: "node-a")
                    return granted > 0 && kept > granted
                }
                try await eventually("several attempts have failed") {
                    try await server.metric("kubenetmon_worker_insert_retries_total") >= 6
                }
                clickHouse = try await clickHouse.restart()
                _ = try await traffic
                return try #require(try await lab.countersAtRest()["node-a"]).bytes
            }
            #expect(scrapes > 0)
            let lost = try await lab.metric("kubenetmon_agent_lost_bytes_total", on: "node-a")
            try await lab.stop(agent)
            #expect(try await database.bytes() == sent)
            #expect(lost == 0)
            #expect(try await server.metric("kubenetmon_worker_lost_bytes_total") == 0)
            #expect(try await server.metric("kubenetmon_worker_queued_rows") == 0)
            #expect(try await server.metric("kubenetmon_worker_inserted_bytes_total") == sent)
            #expect(try await server.metric("kubenetmon_server_pending_bytes") == 0)
            try await server.stop()
            far.signal(SIGKILL)
        }
        try await clickHouse.stop()
    }

    @Test("agents keep all batches that a server could not insert before it ended")
    func aServerThatEndsWhileClickHouseIsAwayLeavesEverythingToTheAgents() async throws {
        let database = try await TestDatabase.make()
        let isAway = Mutex(false)
        let proxy = try FaultyProxy.start(before: database.url) { _, _ in
            isAway.withLock { $0 } ? .answer(.hangUp) : .none
        }
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let server = try ServerUnderTest.start(
                database, endpoint: proxy.url, shutdownTimeout: "500ms")
            try await server.waitUntilReady()
            let agent = try await lab.startAgent(on: "node-a", serverPort: ServerUnderTest.port)
            try await database.query("RENAME TABLE network_flows_0 TO elsewhere")
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 100, seconds: 1)
            try await eventually("/ready says that operator action is needed") {
                let ready = try await server.probe("/ready")
                let problem = "ClickHouse needs operator action: ClickHouse responded with exception 60"
                return ready.status == 503 && ready.body.contains("\"clickhouse\":\"\(problem)")
            }
            isAway.withLock { $0 = true }
            try await eventually("/ready says that the failure is transient") {
                let ready = try await server.probe("/ready")
                // On a machine that has taken half a minute so far, rows have waited for too long and the server is not
                // ready.
                return ready.status == 200 || ready.body.contains("the oldest batch has waited for")
            }
            #expect(try await server.metric("kubenetmon_worker_queued_rows") > 0)
            try await server.stop()
            #expect(server.process.output.contains("before ClickHouse has stored all rows; agents keep them"))

            try await database.query("RENAME TABLE elsewhere TO network_flows_0")
            isAway.withLock { $0 = false }
            let next = try ServerUnderTest.start(database, endpoint: proxy.url)
            try await next.waitUntilReady()
            let sent = try #require(try await lab.countersAtRest()["node-a"]).bytes
            try await lab.stop(agent)
            #expect(try await database.bytes() == sent)
            try await next.stop()
            far.signal(SIGKILL)
        }
    }

    @Test("SIGTERM ends a server whose ClickHouse does not respond")
    func aServerThatWaitsForASilentClickHouseEndsWhenAsked() async throws {
        let silent = try RawHTTPServer { _, _ in .silence }
        // The request itself has a timeout of one hour.
        let server = try ServerUnderTest.start(
            try await TestDatabase.make(), endpoint: silent.url, extraKeys: "clickhouse_timeout: 1h")
        try await eventually("the server connects to ClickHouse") { !silent.requests.isEmpty }
        try await server.stop()
    }
}
