// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Foundation
import Glibc
import InventoryFile
import KubernetesAPI
import KubernetesTestKit
import TestSupport
import Testing

/// The server learns the lab's cluster from an API server.
extension EndToEndTests {
    /// Returns a kubeconfig for an API server, as `kubectl config view --flatten` writes one.
    private func kubeconfig(of url: String, token: String) -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: lab
        contexts: [{name: lab, context: {cluster: lab, user: kubenetmon}}]
        clusters: [{name: lab, cluster: {server: "\(url)"}}]
        users: [{name: kubenetmon, user: {token: \(token)}}]
        """
    }

    private func deployment(_ name: String) -> ObjectOwner {
        ObjectOwner(kind: "Deployment", name: name, uid: ObjectUID("deployment \(name)"))
    }

    @Test("a server labels flows with the objects that it lists and watches")
    func aServerLearnsTheClusterAndLabelsByIt() async throws {
        var options = APIServerFixture.Options()
        options.tokens = ["secret"]
        let fixture = try await APIServerFixture.start(options)
        let inventory = try Inventory(contentsOf: Repository.file("tools/lab-inventory.yaml").path)
        fixture.apply(inventory.nodes)
        let replicaSet = ReplicaSet(
            uid: ObjectUID("11111111-2222-3333-4444-555555555555"), owner: deployment("storefront"))
        fixture.apply(replicaSet)
        let pods = inventory.pods.map { pod in
            var pod = pod
            if pod.name == "web-1" { pod.owner = ObjectOwner(kind: "ReplicaSet", name: "x", uid: replicaSet.uid) }
            return pod
        }
        fixture.apply(pods)
        fixture.apply(
            ClusterService(
                namespace: "shop", name: "web", clusterAddresses: [try #require(IPAddress("10.96.0.80"))]))

        let database = try await TestDatabase.make()
        let migration = Repository.file("deploy/clickhouse/002_extended_columns.sql")
        try await database.query(try String(contentsOf: migration, encoding: .utf8))
        try await Lab.run { lab in
            let far = [try await lab.startChurnServer(in: "web-1"), try await lab.startChurnServer(in: "web-2")]
            let server = try ServerUnderTest.start(database, kubeconfig: kubeconfig(of: fixture.url, token: "secret"))
            try await server.waitUntilReady()
            let agent = try await lab.startAgent(on: "node-a", serverPort: ServerUnderTest.port)
            _ = try await lab.churn("tcp", from: "client-1", to: "10.96.0.80", port: 80, rate: 100, seconds: 1)
            _ = try await lab.churn("tcp", from: "client-1", to: "fd00:244:1::10", rate: 100, seconds: 1)
            let counters = try await lab.countersAtRest()
            try await eventually("the rows are stored") {
                try await database.bytes() >= counters["node-a"]?.bytes ?? .max
            }
            #expect(try await database.bytes() == counters["node-a"]?.bytes)
            let services = try await database.rows(
                """
                SELECT DISTINCT localPod, remotePod, remoteService, remoteWorkload FROM network_flows_0
                WHERE localPod = 'client-1' AND remoteIPv6 = toIPv6('::') ORDER BY ALL
                """)
            #expect(
                services == [
                    ["client-1", "web-1", "shop/web", "Deployment/storefront"],
                    ["client-1", "web-2", "shop/web", ""],
                ])
            let ipv6 = try await database.rows(
                """
                SELECT DISTINCT localPod, toString(localIPv6), remotePod, toString(remoteIPv6) FROM network_flows_0
                WHERE localPod = 'client-1' AND remoteIPv6 != toIPv6('::')
                """)
            #expect(ipv6 == [["client-1", "fd00:244:1::20", "web-1", "fd00:244:1::10"]])

            // A pod that comes later is known at once, and `explain` names it.
            fixture.apply(
                Pod(
                    namespace: "shop", name: "late", node: "node-b",
                    addresses: [try #require(IPAddress("10.244.2.99"))]))
            try await eventually("the server knows the new pod") {
                try await explain("10.244.1.20:1", "10.244.2.99:2").contains("is pod shop/late on node-b")
            }
            #expect(
                try await explain("10.244.1.20:1", "10.96.0.80:80", answeredBy: "10.244.1.10:8080")
                    .contains("service      shop/web"))
            try await lab.stop(agent)
            try await server.stop()
            #expect(!server.process.output.contains("secret"))
            for process in far { process.signal(SIGKILL) }
        }
        fixture.stop()
    }

    /// An agent's batches have waited for half an hour. The server that stored the first of them is killed, and another
    /// one gets the rest.
    @Test("flows that waited for half an hour are labelled with the pods of that time")
    func whatWaitedForHalfAnHourIsStillItsPods() async throws {
        let fixture = try await APIServerFixture.start(APIServerFixture.Options())
        let inventory = try Inventory(contentsOf: Repository.file("tools/lab-inventory.yaml").path)
        fixture.apply(inventory.nodes)
        let hourAgo = UInt32(clamping: time(nil)) - 3600
        for pod in inventory.pods {
            var pod = pod
            pod.startedAt = hourAgo
            fixture.apply(pod)
        }
        let database = try await TestDatabase.make()
        let agent = EagerAgent()
        for batches in [0..<10, 10..<30] {
            let server = try ServerUnderTest.start(database, kubeconfig: kubeconfig(of: fixture.url, token: "any"))
            try await server.waitUntilReady()
            try await agent.send(batches, as: 1, secondsAgo: 1_800 - 60 * Double(batches.lowerBound))
            try await eventually("all batches are stored") { agent.acknowledgedBatches == batches.upperBound }
            server.process.signal(SIGKILL)
            _ = try await server.process.wait()
        }
        let bytes = try await database.rows(
            "SELECT sum(bytes), sumIf(bytes, localPod = 'client-1') FROM network_flows_0")
        let expected = "\(30 * 3_000 * EagerAgent.flowsPerBatch)"
        #expect(bytes == [[expected, expected]])
        fixture.stop()
    }

    @Test("SIGTERM ends a server whose API server does not respond")
    func aServerThatWaitsForASilentClusterEndsWhenAsked() async throws {
        let silent = try RawHTTPServer { _, _ in .silence }
        let server = try ServerUnderTest.start(
            try await TestDatabase.make(), kubeconfig: kubeconfig(of: silent.url, token: "secret"))
        try await eventually("the server requests the cluster's objects") { !silent.requests.isEmpty }
        try await server.stop()
        // A request without a response fails after a minute.
        #expect(!server.process.output.contains("cannot list"))
    }

    private func explain(_ source: String, _ destination: String, answeredBy: String? = nil) async throws -> String {
        try await ChildProcess.run(
            Repository.program("kubenetmon-server"),
            ["explain", "--src", source, "--dst", destination, "--node", "node-a", "--metrics-port", "8880"]
                + (answeredBy.map { ["--answered-by", $0] } ?? []))
    }

    @Test("a server is not ready, and does not listen, before it has listed the cluster")
    func aServerIsNotReadyBeforeItHasListedTheCluster() async throws {
        var options = APIServerFixture.Options()
        options.tokens = ["right"]
        let fixture = try await APIServerFixture.start(options)
        let server = try ServerUnderTest.start(
            try await TestDatabase.make(), kubeconfig: kubeconfig(of: fixture.url, token: "wrong"))
        try await eventually("the probe port serves requests") { server.process.output.contains("serving /metrics") }
        try await eventually("/ready names the reason") {
            let reason = try await server.probe("/ready").body
            return reason.contains("pods not listed yet") && reason.contains("401")
        }
        #expect(try await server.probe("/ready").status == 503)
        #expect(!server.process.output.contains("listening for agents"))
        fixture.update { $0.tokens = ["wrong"] }
        try await server.waitUntilReady()
        #expect(try await server.probe("/ready").status == 200)
        #expect(try await server.metric("kubenetmon_server_watch_synced{resource=\"pods\"}") == 1)
        #expect(fixture.requests.allSatisfy { $0.userAgent?.hasPrefix("kubenetmon-server/0.") == true })
        // A later rejection by the API server is named by the probe, and the server stays ready.
        fixture.update { $0.tokens = ["another"] }
        await fixture.closeConnections()
        try await eventually("/ready names the rejection") {
            let ready = try await server.probe("/ready")
            return ready.status == 200 && ready.body.contains("pods are not watched: cannot list pods: 401")
        }
        try await server.stop()
        fixture.stop()
    }
}
