// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

/// Connections with an entry in each of several conntrack zones: a server gets their bytes once.
extension EndToEndTests {
    private func expectBytesOnce(
        _ node: ZonedNode, settings: [String: String] = [:],
        _ body: (
            _ agent: ChildProcess, FlowLedger, _ churn: @Sendable (_ rate: Int, _ seconds: Double) async throws -> Void
        )
            async throws -> Void
    ) async throws {
        let ledger = try await FlowLedger.listen()
        try await node.run {
            @Sendable func start(_ program: String, _ arguments: [String], in namespace: String) throws -> ChildProcess
            {
                try ChildProcess(
                    URL(filePath: "/usr/bin/env"),
                    ["ip", "netns", "exec", namespace, Repository.program(program).path] + arguments,
                    environment: [
                        "NODE_NAME": "node-a", "COLLECTION_INTERVAL": "300ms",
                        "SERVER_ANSWER_TIMEOUT": "5m", "SHUTDOWN_TIMEOUT": "5m",
                        "KUBENETMON_SERVER_SERVICE_HOST": ZonedNode.sandbox,
                        "KUBENETMON_SERVER_SERVICE_PORT": "\(ledger.port)",
                    ].merging(settings) { $1 })
            }
            let server = try start("Churn", ["serve", "8080"], in: node.serverPod)
            let agent = try start("kubenetmon-agent", [], in: ZonedNode.node)
            try await eventually("server and agent are running") {
                guard agent.isRunning else { throw TestEnvironmentError("the agent ended: \(agent.output)") }
                return server.output.contains("ready") && agent.output.contains("serving /metrics")
            }
            let address = node.destinationTranslation == nil ? ZonedNode.server : "10.96.0.80"
            try await body(agent, ledger) { rate, seconds in
                let client = try start(
                    "Churn", ["tcp", address, "8080", "\(rate)", "\(seconds)", "0", "0"], in: "zone-pod-0")
                let code = try await client.wait()
                guard code == 0 else { throw TestEnvironmentError("churn failed: \(client.output)") }
            }
            let passed = try await atRest { try await node.passedBytes() }
            agent.signal(SIGTERM)
            #expect(try await agent.wait() == 0)
            printAccuracy(truth: passed, reported: ledger.totals.tcpBytes)
            #expect(passed > 100_000)
            #expect(ledger.totals.tcpBytes == passed, "\(agent.output)")
            server.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test(
        "Bytes of a connection in several zones arrive once, translated or not",
        arguments: [
            ZonedNode(zones: [1, 2]), ZonedNode(zones: [0, 7]), ZonedNode(zones: [3, 4, 5]),
            ZonedNode(zones: [1, 2], sourceTranslation: 0), ZonedNode(zones: [1, 2], sourceTranslation: 1),
            ZonedNode(zones: [3, 4, 5], sourceTranslation: 1), ZonedNode(zones: [6, 0], destinationTranslation: 0),
        ])
    func connectionsInSeveralZones(node: ZonedNode) async throws {
        try await expectBytesOnce(node) { _, _, churn in try await churn(100, 3) }
    }

    @Test("Connections that end between two collections are counted once, by their events")
    func shortConnectionsInTwoZones() async throws {
        try await expectBytesOnce(
            ZonedNode(zones: [1, 2], sourceTranslation: 1), settings: ["COLLECTION_INTERVAL": "1s"]
        ) {
            _, _, churn in
            try await ChildProcess.shell(
                """
                ip netns exec \(ZonedNode.node) sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_time_wait=1 \
                    net.netfilter.nf_conntrack_tcp_timeout_last_ack=1 net.netfilter.nf_conntrack_tcp_timeout_close=1
                """)
            try await churn(300, 5)
        }
    }

    @Test("Entries that end before those of other zones, and zones with other numbers, cost nothing")
    func zonesThatChange() async throws {
        let node = ZonedNode(zones: [1, 2])
        try await expectBytesOnce(node) { _, ledger, churn in
            async let traffic: Void = churn(100, 6)
            try await eventually("flows arrive") { ledger.totals.flows > 50 }
            // Entries in TIME_WAIT are idle: no packet in flight belongs to them.
            _ = try? await ChildProcess.shell(
                "ip netns exec \(ZonedNode.node) conntrack -D -w 2 -p tcp --state TIME_WAIT")
            try await node.setZones([9, 2])
            try await traffic
        }
    }

    @Test("A zone that takes a reply for a connection's first packet does not count the connection again")
    func replyFirst() async throws {
        let node = ZonedNode(zones: [1, 2])
        func python(_ program: String, in namespace: String) throws -> ChildProcess {
            try ChildProcess(
                URL(filePath: "/usr/bin/env"), ["ip", "netns", "exec", namespace, "python3", "-uc", program])
        }
        try await expectBytesOnce(node) { _, ledger, _ in
            let server = try python(
                """
                import signal, socket
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
                listener = socket.create_server(("0.0.0.0", 9000))
                print("listening")
                connection, _ = listener.accept()
                for size in 1_000, 1_000_000:
                    connection.sendall(bytes(size))
                    signal.sigwait({signal.SIGUSR1})
                """, in: node.serverPod)
            try await eventually("the server listens") { server.output.contains("listening") }
            let client = try python(
                """
                import socket
                connection = socket.create_connection(("\(ZonedNode.server)", 9000))
                received = 0
                while received < 1_001_000:
                    received += len(connection.recv(65536))
                    if received == 1_000: print("greeted")
                """, in: "zone-pod-0")
            try await eventually("the client has received the greeting") { client.output.contains("greeted") }
            // Read in two collections, the connection's entries in zones 1 and 2 are known to be one.
            try await eventually("the connection's bytes are reported") { ledger.totals.tcpBytes > 1_000 }
            _ = try await atRest { try await node.passedBytes() }
            try await node.setZones([9, 2])
            server.signal(SIGUSR1)
            let code = try await client.wait()
            guard code == 0 else { throw TestEnvironmentError("the client failed: \(client.output)") }
            server.signal(SIGUSR1)
            let end = try await server.wait()
            guard end == 0 else { throw TestEnvironmentError("the server failed: \(server.output)") }
        }
    }
}
