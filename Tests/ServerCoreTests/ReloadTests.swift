// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Foundation
import Glibc
import KubernetesTestKit
import TestSupport
import Testing

/// A server that stores nothing and whose configuration is mounted like a ConfigMap: as files behind a symbolic link
/// that is replaced.
private final class MountedServer {
    let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
    let process: ChildProcess
    private let metricsPort: Int
    private var version = 0

    init(_ configuration: String, port: Int, metricsPort: Int, kubeconfig: String) throws {
        self.metricsPort = metricsPort
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let text = Self.required(port, metricsPort) + configuration
        try Self.mount(text, in: folder, version: 0)
        let file = folder.appending(path: "kubeconfig")
        try kubeconfig.write(to: file, atomically: true, encoding: .utf8)
        process = try ChildProcess(
            Repository.program("kubenetmon-server"),
            ["--config", folder.appending(path: "data/config.yaml").path, "--credentials", "/nowhere"],
            environment: ["KUBECONFIG": file.path])
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Replaces the file.
    func mount(_ configuration: String, port: Int) throws {
        version += 1
        try Self.mount(Self.required(port, metricsPort) + configuration, in: folder, version: version)
    }

    private static func required(_ port: Int, _ metricsPort: Int) -> String {
        """
        environment: test
        cloud: aws
        region: eu-central-1
        cluster: main
        clickhouse_enabled: false
        cloud_ranges: {enabled: false}
        port: \(port)
        metrics_port: \(metricsPort)

        """
    }

    private static func mount(_ text: String, in folder: URL, version: Int) throws {
        let data = folder.appending(path: "..\(version)")
        try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
        try text.write(to: data.appending(path: "config.yaml"), atomically: true, encoding: .utf8)
        let link = folder.appending(path: "link")
        try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: data.lastPathComponent)
        #expect(rename(link.path, folder.appending(path: "data").path) == 0)
    }

    func probe(_ path: String) async throws -> String {
        try await ChildProcess.run(
            URL(filePath: "/usr/bin/env"),
            ["curl", "-sS", "-w", "\n%{http_code}", "http://127.0.0.1:\(metricsPort)/\(path)"])
    }

    func explain() async throws -> String {
        try await ChildProcess.run(
            Repository.program("kubenetmon-server"),
            [
                "explain", "--src", "10.0.0.1:40000", "--dst", "192.0.2.1:443", "--node", "node-a", "--metrics-port",
                "\(metricsPort)",
            ])
    }
}

@Suite(.serialized) struct ReloadTests {
    @Test("reloadable settings take effect while the server runs")
    func whatCanBeChangedIsChangedWhileTheServerRuns() async throws {
        let fixture = try await APIServerFixture.start()
        fixture.apply(Node(name: "node-a", addresses: []))
        fixture.apply(
            Pod(
                namespace: "shop", name: "web", node: "node-a", addresses: [try #require(IPAddress("10.0.0.1"))],
                labels: ["tier": "edge", "team": "blue"]))
        let kubeconfig = """
            current-context: lab
            contexts: [{name: lab, context: {cluster: lab, user: me}}]
            clusters: [{name: lab, cluster: {server: "\(fixture.url)"}}]
            users: [{name: me, user: {token: secret}}]
            """
        let server = try MountedServer(
            "connection_flags: [{name: web, ports: [443]}]\n", port: 7801, metricsPort: 7802, kubeconfig: kubeconfig)
        try await eventually("the server is ready without ClickHouse") {
            (try? await server.probe("ready"))?.hasSuffix("200") == true
        }
        #expect(server.process.output.contains("clickhouse_enabled: false stores nothing"))
        #expect(try await server.explain().contains("flags        web"))

        try server.mount(
            """
            log_level: debug
            connection_flags: [{name: edge, pod_labels: {tier: edge}}]
            pod_labels: {app: [team]}
            ranges: [{name: office, cidrs: [192.0.2.0/24], cloud: office}]
            """, port: 9999)
        try await eventually("the new rules and ranges are in use") {
            let told = try await server.explain()
            return told.contains("flags        edge") && told.contains("app=blue") && told.contains("cloud=office")
        }
        #expect(try await server.probe("ready").hasSuffix("200"))
        let output = server.process.output
        #expect(output.contains("setting takes effect only after a restart") && output.contains("port: 7801 → 9999"))
        #expect(output.contains("log_level: info → debug"))

        try server.mount("log_levle: debug\nranges: office\n", port: 7801)
        try await eventually("the problems are logged") {
            let output = server.process.output
            return output.contains("did you mean 'log_level'?") && output.contains("ranges: expected a list")
        }
        #expect(try await server.probe("metrics").contains("kubenetmon_config_last_reload_successful 0\n"))
        #expect(try await server.explain().contains("cloud=office"))

        try server.mount("private_networks: [192.0.2.0/24]\n", port: 7801)
        server.process.signal(SIGHUP)
        try await eventually("the configuration file is accepted again") {
            try await server.probe("metrics").contains("kubenetmon_config_last_reload_successful 1\n")
        }
        try await eventually("the removed range and the new private network are in use") {
            let told = try await server.explain()
            return !told.contains("cloud=office") && told.contains("private by 192.0.2.0/24")
        }
        server.process.signal(SIGTERM)
        #expect(try await server.process.wait() == 0)
        fixture.stop()
    }

    @Test("--check-config reads the files that the configuration names")
    func aConfigurationIsCheckedWithTheFilesThatItNames() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let inventory = folder.appending(path: "inventory.yaml")
        try "nodes: []\n".write(to: inventory, atomically: true, encoding: .utf8)
        let file = folder.appending(path: "config.yaml")
        func check(_ text: String) async throws -> (code: Int32, output: String) {
            let required = "environment: test\ncloud: aws\nregion: eu-central-1\ncluster: main\n"
            try (required + text).write(to: file, atomically: true, encoding: .utf8)
            let child = try ChildProcess(
                Repository.program("kubenetmon-server"), ["--config", file.path, "--check-config"])
            return (try await child.wait(), child.output)
        }
        let good = try await check(
            "inventory_file: \(inventory.path)\nclickhouse_headers: {X-Token: s3cret}\nclickhouse_skip_ping: true\n")
        #expect(good.code == 0)
        #expect(good.output.contains("inventory_file: \(inventory.path)  # \(file.path):5\n"))
        #expect(good.output.contains("# warning: clickhouse_skip_ping has no effect"))
        #expect(!good.output.contains("s3cret"))
        let bad = try await check(
            """
            inventory_file: /nowhere/i.yaml
            clickhouse_ca_file: /nowhere/ca.pem
            cloud_ranges: {aws: /nowhere/aws.json}
            """)
        #expect(bad.code == 64)
        for name in ["i.yaml", "ca.pem", "aws.json"] { #expect(bad.output.contains("/nowhere/\(name): ")) }
        let pipe = folder.appending(path: "pipe")
        #expect(mkfifo(pipe.path, 0o600) == 0)
        let blocking = try await check("cloud_ranges: {aws: \(pipe.path)}\n")
        #expect(blocking.code == 64)
        #expect(blocking.output.contains("\(pipe.path): it is not a regular file"))
    }

    @Test("--check-config rejects certificates that connections to agents or ClickHouse could not use")
    func checkedCertificates() async throws {
        let certificates = try await TestCertificates()
        let unusable = try await TestCertificates(.ed448)
        let file = certificates.folder.appending(path: "config.yaml")
        func check(_ text: String) async throws -> (code: Int32, output: String) {
            let required = "environment: test\ncloud: aws\nregion: eu-central-1\ncluster: main\n"
            try (required + text).write(to: file, atomically: true, encoding: .utf8)
            let child = try ChildProcess(
                Repository.program("kubenetmon-server"),
                ["--config", file.path, "--credentials", "/nowhere", "--check-config"])
            return (try await child.wait(), child.output)
        }
        func settings(_ certificates: TestCertificates, key: String = "client.key") -> String {
            """
            tls_certificate_file: \(certificates.path("server.pem"))
            tls_key_file: \(certificates.path("server.key"))
            tls_client_ca_file: \(certificates.path("authority.pem"))
            clickhouse_certificate_file: \(certificates.path("client.pem"))
            clickhouse_key_file: \(certificates.path(key))

            """
        }
        let good = try await check(settings(certificates))
        #expect(good.code == 0, "\(good.output)")
        let agents = try await check(settings(unusable))
        #expect(agents.code == 64 && agents.output.contains("P-256, P-384, P-521"), "\(agents.output)")
        let clickHouse = try await check(settings(certificates, key: "server.key"))
        #expect(clickHouse.code == 64 && clickHouse.output.contains("clickhouse_key_file"), "\(clickHouse.output)")
    }
}
