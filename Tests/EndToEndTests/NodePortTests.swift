// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport
import Testing

extension EndToEndTests {
    /// An outside client connects through a port of node-a to a pod of node-b, which sees an address of node-a's bridge
    /// as the client. No object lists that address, and only node-a's agent can tell that it is node-a's.
    @Test("NodePort traffic that is masqueraded to a pod of another node is counted once")
    func whatPassesANodesPortIsCountedOnce() async throws {
        let database = try await TestDatabase.make()
        try await Lab.run { lab in
            try await ChildProcess.shell(
                """
                ip -n node-a link add cni0 type bridge
                ip -n node-a address add 10.244.1.1/32 dev cni0
                ip -n node-a link set cni0 up
                ip netns exec node-a nft -f - <<'END'
                table ip nodeport {
                    chain prerouting {
                        type nat hook prerouting priority -101
                        tcp dport 30080 dnat to 10.244.2.10:8080
                    }
                    chain postrouting {
                        type nat hook postrouting priority 99
                        ip daddr 10.244.2.10 ct status dnat snat to 10.244.1.1
                    }
                }
                END
                """)
            let web = try await lab.startChurnServer(in: "web-2")
            let server = try ServerUnderTest.start(database)
            try await server.waitUntilReady()
            let agents = [
                try await lab.startAgent(on: "node-a", serverPort: ServerUnderTest.port),
                try await lab.startAgent(on: "node-b", serverPort: ServerUnderTest.port),
            ]
            _ = try await lab.churn("tcp", from: "outside", to: "172.18.0.2", port: 30_080, rate: 100, seconds: 1)
            let counters = try await lab.countersAtRest()
            let truth = try #require(counters["node-a"]?.bytes)
            #expect(counters["node-b"]?.bytes == truth)
            try await eventually("node-b's agent has reported its bytes") {
                try await server.metric("kubenetmon_server_ignored_bytes_total{reason=\"node\"}") >= truth
            }
            try await eventually("the rows are stored") { try await database.bytes() >= truth }
            #expect(try await database.bytes() == truth)
            let rows = try await database.rows(
                """
                SELECT DISTINCT toString(localIPv4), localNode, localAvailabilityZone, localCluster, localPod,
                    remoteNode, remotePod, connectionClass, connectionFlags
                FROM network_flows_0
                """)
            #expect(
                rows == [
                    [
                        "198.51.100.10", "node-a", "eu-central-1a", "lab", "", "node-b", "web-2", "INTRA_REGION",
                        "{'translated':true}",
                    ]
                ])
            for agent in agents { try await lab.stop(agent) }
            try await server.stop()
            web.signal(SIGKILL)
        }
    }
}
