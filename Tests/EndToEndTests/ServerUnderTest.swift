// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport

/// A process of the built server with its own configuration and database.
struct ServerUnderTest {
    let process: ChildProcess
    let probePort: Int

    /// The port that agents connect to.
    static let port = 8884

    /// Starts a server that labels with the lab's inventory, or with the cluster of a kubeconfig.
    static func start(
        _ database: TestDatabase, endpoint: String? = nil, port: Int = Self.port, probePort: Int = 8880,
        kubeconfig: String? = nil, shutdownTimeout: String = "5m", extraKeys: String = ""
    ) throws -> ServerUnderTest {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let configuration = """
            environment: test
            cloud: aws
            region: eu-central-1
            cluster: lab
            port: \(port)
            metrics_port: \(probePort)
            ignore_udp: false
            clickhouse_endpoint: \(endpoint ?? database.url)
            clickhouse_database: \(database.name)
            clickhouse_batch_max_age: 200ms
            shutdown_timeout: \(shutdownTimeout)
            num_inserter_workers: 2
            cloud_ranges: {enabled: false}
            \(extraKeys)
            """
        let file = folder.appending(path: "config.yaml")
        try configuration.write(to: file, atomically: true, encoding: .utf8)
        try database.user.write(to: folder.appending(path: "username"), atomically: true, encoding: .utf8)
        try database.password.write(to: folder.appending(path: "password"), atomically: true, encoding: .utf8)
        var arguments = ["--config", file.path, "--credentials", folder.path]
        var environment: [String: String] = [:]
        if let kubeconfig {
            let path = folder.appending(path: "kubeconfig")
            try kubeconfig.write(to: path, atomically: true, encoding: .utf8)
            environment["KUBECONFIG"] = path.path
        } else {
            arguments += ["--inventory", Repository.file("tools/lab-inventory.yaml").path]
        }
        let process = try ChildProcess(
            Repository.program("kubenetmon-server"), arguments, environment: environment)
        return ServerUnderTest(process: process, probePort: probePort)
    }

    /// Returns a probe's response: its status and its body.
    func probe(_ path: String) async throws -> (status: Int, body: String) {
        let answer = try await ChildProcess.run(
            URL(filePath: "/usr/bin/env"),
            ["curl", "-sS", "-w", "\n%{http_code}", "http://127.0.0.1:\(probePort)\(path)"])
        let lines = answer.split(separator: "\n", omittingEmptySubsequences: false)
        return (lines.last.flatMap { Int($0) } ?? 0, lines.dropLast().joined(separator: "\n"))
    }

    /// Returns one of the server's metrics: the series with the given labels, or without labels the sum of all series
    /// of that name.
    func metric(_ name: String) async throws -> UInt64 {
        try MetricsText(try await probe("/metrics").body).number(of: name)
    }

    /// Returns the time under backpressure, in seconds.
    func backpressureSeconds() async throws -> Double {
        MetricsText(try await probe("/metrics").body).sum(of: "kubenetmon_server_backpressure_seconds_total")
    }

    /// Waits until the server listens for agents.
    func waitUntilReady() async throws {
        try await eventually("the server is ready") {
            guard process.isRunning else { throw TestEnvironmentError("the server ended: \(process.output)") }
            return process.output.contains("listening for agents")
        }
    }

    /// Sends SIGTERM to the server, and waits until it has ended.
    func stop() async throws {
        process.signal(SIGTERM)
        let code = try await process.wait()
        guard code == 0 else { throw TestEnvironmentError("the server exited with \(code): \(process.output)") }
    }
}

extension MetricsText {
    /// Returns the sum of a metric's samples. Throws if there is none, or if the sum is not a whole number.
    func number(of name: String) throws -> UInt64 {
        guard let number = UInt64(exactly: sum(of: name)) else {
            throw TestEnvironmentError("the metric \(name) is \(sum(of: name)) among \(samples)")
        }
        return number
    }
}
