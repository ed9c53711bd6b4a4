// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

/// The kernels of two nodes → agents → server → ClickHouse, all of them real.
extension EndToEndTests {
    @Test("the table has every byte and packet of TCP, UDP and translated traffic")
    func everyByteOfEveryShapeOfTrafficIsInTheTable() async throws {
        let database = try await TestDatabase.make()
        try await Lab.run { lab in
            let server = try ServerUnderTest.start(database)
            try await server.waitUntilReady()
            let agents = [
                try await lab.startAgent(on: "node-a", serverPort: ServerUnderTest.port),
                try await lab.startAgent(on: "node-b", serverPort: ServerUnderTest.port),
            ]
            try await lab.makeTraffic(seconds: 4)
            let counters = try await lab.countersAtRest()
            for agent in agents { try await lab.stop(agent) }

            // Bytes and packets of each node, protocol and direction agree with the firewall's.
            for (node, counted) in counters {
                #expect(try await database.sums(node, "tcp") == Sums(counted.tcp_orig, counted.tcp_reply), "\(node)")
                #expect(try await database.sums(node, "udp") == Sums(counted.udp_orig, counted.udp_reply), "\(node)")
            }
            #expect(
                try await server.metric("kubenetmon_worker_inserted_bytes_total")
                    == counters.values.reduce(0) { $0 + $1.bytes })
            try await database.checkLabels()
            try await server.stop()
        }
    }

    @Test("a server is not ready, with the reason, until ClickHouse and its table exist")
    func aServerWaitsForClickHouseAndForItsTable() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let absent = try ServerUnderTest.start(database, endpoint: "http://127.0.0.1:1")
        try await eventually("the probe port serves requests") { absent.process.output.contains("serving /metrics") }
        try await eventually("/ready names the reason") {
            try await absent.probe("/ready").body.contains("cannot be reached")
        }
        #expect(try await absent.probe("/ready").status == 503)
        #expect(try await absent.probe("/live").status == 200)
        #expect(absent.process.output.contains("waiting for ClickHouse"))
        try await absent.stop()

        let server = try ServerUnderTest.start(database)
        try await eventually("the log names the missing table") {
            server.process.output.contains(
                "table network_flows_0 does not exist; create it with kubenetmon-server migrate")
        }
        #expect(try await server.probe("/ready").status == 503)
        try await database.createTable()
        try await server.waitUntilReady()
        #expect(try await server.probe("/ready").status == 200)
        try await server.stop()
    }

    @Test("no byte is lost while no server runs or when one is killed under load")
    func nothingIsLostWhileTheServerIsAwayOrDiesUnderLoad() async throws {
        let database = try await TestDatabase.make()
        try await Lab.run { lab in
            let churnServer = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(on: "node-a", serverPort: ServerUnderTest.port)
            // No server runs yet.
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 100, seconds: 2)
            var server = try ServerUnderTest.start(database)
            try await server.waitUntilReady()
            async let traffic = lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 4)
            try await eventually("rows are stored and acknowledged") {
                try await lab.acknowledgedBytes(by: server, to: ["node-a"]) > 0
            }
            let acknowledged = try await lab.acknowledgedBytes(by: server, to: ["node-a"])
            server.process.signal(SIGKILL)
            _ = try await server.process.wait()
            server = try ServerUnderTest.start(database)
            try await server.waitUntilReady()
            _ = try await traffic
            let sent = try #require(try await lab.countersAtRest()["node-a"]).bytes
            #expect(try await lab.metric("kubenetmon_agent_lost_bytes_total", on: "node-a") == 0)
            try await lab.stop(agent)
            // Delivery is at least once: only rows that the killed server had stored and not acknowledged are stored
            // twice.
            #expect(try await database.bytes() >= sent)
            #expect(try await server.metric("kubenetmon_worker_inserted_bytes_total") <= sent - acknowledged)
            try await server.stop()
            churnServer.signal(SIGKILL)
        }
    }
}

/// Bytes and packets of the original and the reply direction.
struct Sums: Equatable {
    var originalBytes: UInt64
    var originalPackets: UInt64
    var replyBytes: UInt64
    var replyPackets: UInt64

    init(_ original: Lab.Counters.Amount, _ reply: Lab.Counters.Amount) {
        originalBytes = original.bytes
        originalPackets = original.packets
        replyBytes = reply.bytes
        replyPackets = reply.packets
    }
}

extension TestDatabase {
    func rowCount() async throws -> Int {
        Int(try await rows("SELECT count() FROM network_flows_0")[0][0]) ?? 0
    }

    func bytes() async throws -> UInt64 {
        UInt64(try await rows("SELECT sum(bytes) FROM network_flows_0")[0][0]) ?? 0
    }

    /// Returns a node's sums in the table. Every server in the lab has a port below 10,000, every client one above.
    func sums(_ node: String, _ transport: String) async throws -> Sums {
        let isOriginal = "(direction = 'out') = (localPort > 10000)"
        let row = try await rows(
            """
            SELECT sumIf(bytes, \(isOriginal)), sumIf(packets, \(isOriginal)), sumIf(bytes, NOT (\(isOriginal))),
                sumIf(packets, NOT (\(isOriginal)))
            FROM network_flows_0 WHERE localNode = '\(node)' AND proto = '\(transport)'
            """)[0].map { UInt64($0) ?? 0 }
        return Sums(.init(packets: row[1], bytes: row[0]), .init(packets: row[3], bytes: row[2]))
    }

    /// Checks that peers and connection classes agree with the lab's inventory and routing.
    fileprivate func checkLabels() async throws {
        let talkers = try await rows(
            """
            SELECT DISTINCT localNode, localAvailabilityZone, localNamespace, localPod, localApp,
                remoteNode, remoteAvailabilityZone, remotePod, toString(remoteIPv4), remoteRegion, remoteCloudService,
                remoteCluster, connectionClass
            FROM network_flows_0
            WHERE proto = 'tcp' AND localPod LIKE 'client%'
            ORDER BY ALL
            """)
        let a = ["node-a", "eu-central-1a", "load", "client-1", "client"]
        let b = ["node-b", "eu-central-1b", "load", "client-2", "client"]
        let web1 = ["node-a", "eu-central-1a", "web-1", "10.244.1.10", "eu-central-1", "", "lab", "INTRA_VPC"]
        let web2 = ["node-b", "eu-central-1b", "web-2", "10.244.2.10", "eu-central-1", "", "lab", "INTRA_VPC"]
        let s3 = ["", "", "", "198.51.100.10", "eu-central-1", "s3", "UNKNOWN", "INTRA_REGION"]
        let internet = ["", "", "", "203.0.113.80", "", "", "UNKNOWN", "PUBLIC_INTERNET"]
        // The service address does not appear, because the dialled address is translated to a pod's. A node's address
        // does not appear either, because it only masquerades.
        #expect(talkers == [a + s3, a + web1, a + web2, b + internet, b + web1, b + web2])
        // Connections that leave the cluster are masqueraded.
        let constants = try await rows(
            """
            SELECT DISTINCT environment, localCloud, localRegion, localCluster, intervalSeconds,
                connectionFlags['translated'] = (remoteNode = ''), toStartOfMinute(intervalStartTime) = intervalStartTime,
                date = toDate(intervalStartTime, 'UTC')
            FROM network_flows_0
            """)
        #expect(constants == [["test", "aws", "eu-central-1", "lab", "60", "1", "1", "1"]])
    }
}
