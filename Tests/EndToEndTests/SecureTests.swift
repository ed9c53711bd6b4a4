// SPDX-License-Identifier: Apache-2.0

import Foundation
import KubernetesTestKit
import TestSupport
import Testing

/// Mutual TLS and service accounts' tokens between agents and the server.
extension EndToEndTests {
    private static func account(on node: String) -> FixtureAccount {
        FixtureAccount(
            username: "system:serviceaccount:kubenetmon-agent:kubenetmon-agent", audiences: ["kubenetmon-server"],
            podName: "kubenetmon-agent-\(node)", nodeName: node)
    }

    @Test("every byte arrives over TLS with tokens while certificates are replaced")
    func everyByteArrivesEncryptedFromProvenNodesWhileCertificatesAreExchanged() async throws {
        let database = try await TestDatabase.make()
        let before = try await TestCertificates()
        let after = try await TestCertificates()
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let current = folder.appending(path: "current")
        try FileManager.default.createSymbolicLink(at: current, withDestinationURL: before.folder)

        var options = APIServerFixture.Options()
        options.tokens = ["the-servers-own"]
        options.accounts = ["token-a": Self.account(on: "node-a"), "token-b": Self.account(on: "node-b")]
        let api = try await APIServerFixture.start(options)
        try await Lab.run { lab in
            let server = try ServerUnderTest.start(
                database,
                kubeconfig: """
                    apiVersion: v1
                    kind: Config
                    current-context: lab
                    contexts: [{name: lab, context: {cluster: lab, user: kubenetmon}}]
                    clusters: [{name: lab, cluster: {server: "\(api.url)"}}]
                    users: [{name: kubenetmon, user: {token: the-servers-own}}]
                    """,
                extraKeys: """
                    inventory_file: \(Repository.file("tools/lab-inventory.yaml").path)
                    tls_certificate_file: \(current.path)/server.pem
                    tls_key_file: \(current.path)/server.key
                    tls_client_ca_file: \(current.path)/authority.pem
                    agent_authentication: kubernetes
                    max_connection_age: 2s
                    """)
            try await server.waitUntilReady()
            func startAgent(_ node: String, token: String) async throws -> ChildProcess {
                let file = folder.appending(path: node)
                try Data(token.utf8).write(to: file, options: .atomic)
                return try await lab.startAgent(
                    on: node, serverPort: ServerUnderTest.port,
                    settings: [
                        "SERVER_TLS": "true", "SERVER_NAME": "api.cluster.test",
                        "SERVER_CA_FILE": "\(current.path)/authority.pem",
                        "CLIENT_CERTIFICATE_FILE": "\(current.path)/client.pem",
                        "CLIENT_KEY_FILE": "\(current.path)/client.key", "TOKEN_FILE": file.path,
                    ])
            }
            let agents = [
                try await startAgent("node-a", token: "token-a"),
                // The token belongs to another node.
                try await startAgent("node-b", token: "token-a"),
            ]
            try await lab.makeTraffic(seconds: 2)
            try await eventually("node-b's agent is rejected") {
                agents[1].output.contains("belongs to a pod on node node-a")
            }
            #expect(try await lab.metric("kubenetmon_agent_acknowledged_bytes_total", on: "node-b") == 0)
            try Data("token-b".utf8).write(to: folder.appending(path: "node-b"), options: .atomic)

            let next = folder.appending(path: "next")
            try FileManager.default.createSymbolicLink(at: next, withDestinationURL: after.folder)
            guard rename(next.path, current.path) == 0 else { throw TestEnvironmentError("rename failed") }
            try await eventually("all processes have reloaded the certificates") {
                (agents + [server.process]).allSatisfy { $0.output.contains("reloaded the TLS files") }
            }
            try await lab.makeTraffic(seconds: 2)
            let counters = try await lab.countersAtRest()
            for agent in agents { try await lab.stop(agent) }
            for (node, counted) in counters {
                #expect(try await database.sums(node, "tcp") == Sums(counted.tcp_orig, counted.tcp_reply), "\(node)")
                #expect(try await database.sums(node, "udp") == Sums(counted.udp_orig, counted.udp_reply), "\(node)")
            }
            #expect(try await server.metric("kubenetmon_server_aged_connections_total") > 0)
            #expect(try await server.metric("kubenetmon_server_errors_total{type=\"token_other_node\"}") > 0)
            #expect(try await server.metric("kubenetmon_server_tls_certificate_not_after_timestamp_seconds") > 0)
            for process in agents + [server.process] { #expect(!process.output.contains("token-")) }
            try await server.stop()
        }
        withExtendedLifetime((before, after, api)) {}
    }
}
