// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Labeling
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import TestSupport
import Testing

import ServerCore
@testable import Operations

/// The server's end when a part of it fails, and its recovery where that is possible.
@Suite struct ServerEndTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }

    /// Writes the configuration of a server that stores nothing and watches no cluster, and returns its path.
    private func configuration(port: Int, metricsPort: Int, _ extraKeys: String = "") throws -> String {
        let file = folder.appending(path: "config.yaml")
        try """
        environment: testing
        cloud: aws
        region: eu-central-1
        cluster: main
        port: \(port)
        metrics_port: \(metricsPort)
        clickhouse_enabled: false
        cloud_ranges: {enabled: false}
        inventory_file: \(Repository.file("tools/lab-inventory.yaml").path)
        \(extraKeys)
        """.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    private func start(_ configuration: String) throws -> ChildProcess {
        try ChildProcess(
            Repository.program("kubenetmon-server"), ["--config", configuration, "--credentials", "/nowhere"])
    }

    @Test(
        "a port in use is named in the error, and the server exits with 1",
        arguments: ["agents", "metrics and probes"])
    func takenPort(purpose: String) async throws {
        let holder = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(to: SocketAddress(ipAddress: "0.0.0.0", port: 0)).get()
        let (taken, free) = (try #require(holder.localAddress?.port), try freePort())
        let server = try start(
            purpose == "agents"
                ? configuration(port: taken, metricsPort: free) : configuration(port: free, metricsPort: taken))
        #expect(try await server.wait() == 1)
        #expect(server.output.contains("cannot listen on port \(taken) for \(purpose): bind("), "\(server.output)")
        try await holder.close()
    }

    @Test("a port in use is named although ClickHouse is not available", arguments: ["0.0.0.0", "::"])
    func takenPortWithoutClickHouse(address: String) async throws {
        let holder = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(to: SocketAddress(ipAddress: address, port: 0)).get()
        let taken = try #require(holder.localAddress?.port)
        let path = try configuration(
            port: taken, metricsPort: freePort(), "clickhouse_endpoint: \(try RawHTTPServer.closedURL())")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacing("clickhouse_enabled: false\n", with: "").write(
            toFile: path, atomically: true, encoding: .utf8)
        let server = try start(path)
        #expect(try await server.wait() == 1)
        #expect(server.output.contains("cannot listen on port \(taken) for agents: bind("), "\(server.output)")
        try await holder.close()
    }

    @Test(
        "unusable TLS files are named, and the server exits with 1",
        arguments: [
            ("server.pem", "missing.key", "missing.key"), ("missing.pem", "server.key", "missing.pem"),
            ("server.pem", "encrypted.key", "encrypted.key"), ("server.pem", "client.key", "client.key"),
            ("server.pem", "empty.key", "empty.key"), ("server.key", "server.key", "server.key"),
        ])
    func badTLSFiles(certificate: String, key: String, named: String) async throws {
        let certificates = try await TestCertificates()
        try await ChildProcess.shell(
            """
            cd '\(certificates.folder.path)'
            openssl pkcs8 -topk8 -in server.key -passout pass:x -out encrypted.key
            : >empty.key
            """)
        let server = try start(
            configuration(
                port: freePort(), metricsPort: freePort(),
                """
                tls_certificate_file: \(certificates.path(certificate))
                tls_key_file: \(certificates.path(key))
                """))
        #expect(try await server.wait() == 1)
        #expect(server.output.contains(named) && server.output.contains("critical"), "\(server.output)")
    }

    @Test("a server starts without IPv6 addresses")
    func withoutIPv6Addresses() async throws {
        let path = try configuration(port: 8884, metricsPort: 8883)
        let program = Repository.program("kubenetmon-server").path
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip link add eth0 type veth peer name other
                ip address add 192.0.2.1/24 dev eth0
                ip link set eth0 up
                sysctl -qw net.ipv6.conf.all.disable_ipv6=1
                \(program) --config \(path) --credentials /nowhere >/dev/null 2>&1 & server=$!
                trap 'kill -KILL $server' EXIT
                until curl -sf -o /dev/null http://192.0.2.1:8883/ready; do kill -0 $server; sleep 0.05; done
                ss -Hltn | awk '{ print $4 }' | sort
                """)
        }
        #expect(output == "*:8883\n*:8884\n")
    }

    @Test("agents' connections leave file descriptors for probes")
    func connectionsWithinTheLimit() async throws {
        let (port, metricsPort) = (try freePort(), try freePort())
        let path = try configuration(port: port, metricsPort: metricsPort, "max_connections: 10000")
        let program = Repository.program("kubenetmon-server").path
        let server = try ChildProcess(
            URL(filePath: "/bin/sh"),
            ["-c", "ulimit -n 300; exec \(program) --config \(path) --credentials /nowhere"])
        try await eventually("the server is ready") {
            (try? await ChildProcess.shell("curl -sf http://127.0.0.1:\(metricsPort)/ready")) != nil
        }
        var held: [any Channel] = []
        for _ in 0..<400 {
            let connection = try? await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(to: SocketAddress(ipAddress: "127.0.0.1", port: port)).get()
            if let connection { held.append(connection) }
        }
        let page = try await ChildProcess.shell("curl -sf http://127.0.0.1:\(metricsPort)/metrics")
        #expect(page.contains("\nkubenetmon_server_accept_failures_total 0\n"))
        #expect(page.contains("\nprocess_max_fds 300\n"))
        for connection in held { try? await connection.close() }
        server.signal(SIGTERM)
        #expect(try await server.wait() == 0)
    }

    @Test("every service of the server ends when its task is cancelled", .timeLimit(.minutes(2)))
    func cancellation() async throws {
        let metricsPort = try freePort()
        let path = try configuration(port: freePort(), metricsPort: metricsPort)
        let file = ConfigurationFile(path: path, arguments: [], environment: [:])
        let (configuration, effective) = try file.read()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let services = try await ServerCommand.services(
            configuration, configuration.inventory(), nil, group, descriptors: 1_000, logger
        ) { apply in ConfigurationReload(file, settings: effective, logger: logger, apply: apply) }
        await withTaskGroup(of: Void.self) { tasks in
            for service in services { tasks.addTask { try? await service.run() } }
            try? await eventually("the server is ready") {
                (try? await ChildProcess.shell("curl -sf http://127.0.0.1:\(metricsPort)/ready")) != nil
            }
            tasks.cancelAll()
        }
        try await group.shutdownGracefully()
    }

    @Test(
        "probes and metrics are answered while every loop that decodes batches is blocked", .timeLimit(.minutes(2)))
    func blockedLoops() async throws {
        let (port, metricsPort) = (try freePort(), try freePort())
        let path = try configuration(port: port, metricsPort: metricsPort)
        let file = ConfigurationFile(path: path, arguments: [], environment: [:])
        let (configuration, effective) = try file.read()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let services = try await ServerCommand.services(
            configuration, configuration.inventory(), nil, group, descriptors: 1_000, logger
        ) { apply in ConfigurationReload(file, settings: effective, logger: logger, apply: apply) }
        await withTaskGroup(of: Void.self) { tasks in
            for service in services { tasks.addTask { try? await service.run() } }
            try? await eventually("it is ready") {
                (try? await ChildProcess.shell("curl -sf http://127.0.0.1:\(metricsPort)/ready")) != nil
            }
            await BlockedThreads.during(group.makeIterator().map { loop in { loop.execute($0) } }) {
                for path in ["live", "ready", "metrics", ""] {
                    #expect(
                        await ChildProcess.httpStatus(of: "http://127.0.0.1:\(metricsPort)/\(path)") == "200",
                        "/\(path)")
                }
            }
            tasks.cancelAll()
        }
        try await group.shutdownGracefully()
    }

    /// Returns an end without time limits; if one were exceeded on a busy machine, the process of all tests would exit.
    private func patient(_ logger: Logger) -> DaemonEnd {
        var bounds = DaemonEnd.Bounds(shutdownTimeout: .seconds(3600))
        bounds.failure = .seconds(3600)
        return DaemonEnd(bounds, logger)
    }

    private struct FailingService: Service {
        func run() async throws {
            try await Task.sleep(for: .milliseconds(100))
            throw TestEnvironmentError("the part failed")
        }
    }

    @Test("if one service of the server fails, the others end", arguments: 0..<6)
    func failingService(place: Int) async throws {
        let path = try configuration(port: freePort(), metricsPort: freePort())
        let file = ConfigurationFile(path: path, arguments: [], environment: [:])
        let (configuration, effective) = try file.read()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        var services = try await ServerCommand.services(
            configuration, configuration.inventory(), nil, group, descriptors: 1_000, logger
        ) { apply in ConfigurationReload(file, settings: effective, logger: logger, apply: apply) }
        #expect(services.count == 6)
        services[place] = FailingService()
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run(services, until: patient(logger), logger)
        }
        try await group.shutdownGracefully()
    }

    @Test(
        "a server without file descriptors logs and counts it, uses little CPU, and goes on when some are free")
    func noDescriptors() async throws {
        let (port, metricsPort) = (try freePort(), try freePort())
        let server = try start(configuration(port: port, metricsPort: metricsPort))
        let metrics = "curl -sf http://127.0.0.1:\(metricsPort)/metrics"
        try await eventually("the server is ready") {
            (try? await ChildProcess.shell("curl -sf http://127.0.0.1:\(metricsPort)/ready")) != nil
        }
        func limit(_ number: Int) async throws {
            try await ChildProcess.shell("prlimit --pid \(server.processIdentifier) --nofile=\(number):10000")
        }
        let used = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.processIdentifier)/fd").count
        try await limit(used + 20)
        var held: [any Channel] = []
        for _ in 0..<40 {
            held.append(
                try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connect(to: SocketAddress(ipAddress: "127.0.0.1", port: port)).get())
        }
        try await eventually("the failure to accept connections is logged") {
            server.output.contains("cannot accept a connection")
        }
        // Some descriptors must remain for everything else; without any, libdispatch would end the process.
        let taken = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.processIdentifier)/fd").count
        #expect(taken < used + 18)
        let before = try cpuTime(server)
        try await Task.sleep(for: .seconds(2))
        #expect(try cpuTime(server) - before < 0.5)
        for connection in held { try? await connection.close() }
        try await limit(1_000)
        try await eventually("agents are accepted again") {
            let page = try? await ChildProcess.shell(metrics)
            let failures = page?.split(separator: "\n").first {
                $0.hasPrefix("kubenetmon_server_accept_failures_total ")
            }
            return failures.map { $0.hasSuffix(" 0") } == false
                && page?.contains("\nkubenetmon_server_open_connections 0\n") == true
        }
        #expect(server.output.split(separator: "\n").count { $0.contains("cannot accept") } == 1)
        server.signal(SIGTERM)
        #expect(try await server.wait() == 0)
    }

    /// Returns the CPU time that a process has used, in seconds (proc_pid_stat(5)).
    private func cpuTime(_ process: ChildProcess) throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
        let fields = text.split(separator: ")").last?.split(separator: " ").compactMap { Double($0) } ?? []
        return (fields[10] + fields[11]) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}
