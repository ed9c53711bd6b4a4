// SPDX-License-Identifier: Apache-2.0

import AgentCore
import Logging
import NIOPosix
import ServiceLifecycle
import TestSupport
import Testing

@testable import Operations
@testable import Settings

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// The agent's end when a part of it fails.
@Suite struct AgentEndTests {
    private static let program = Repository.program("kubenetmon-agent").path

    /// Makes an agent without a server.
    private static func agent(metricsPort: Int) throws -> Agent {
        let settings = SettingsSources(
            environment: [
                "NODE_NAME": "node-a", "METRICS_PORT": "\(metricsPort)", "METRICS_ADDRESS": "127.0.0.1",
                "KUBENETMON_SERVER_SERVICE_HOST": "127.0.0.1", "KUBENETMON_SERVER_SERVICE_PORT": "1",
                "LOG_LEVEL": "critical",
            ])
        let (configuration, effective) = try SettingsReader.read(settings) { AgentConfiguration(&$0) }
        return Agent(configuration, warnings: effective.warnings)
    }

    /// Makes an end with very long time limits: with the usual ones, the process of all tests would exit on a busy
    /// machine.
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

    @Test("a metrics port in use is named in the error, and the agent exits with 1 before it collects")
    func takenPort() async throws {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                python3 -m http.server --bind 0.0.0.0 8883 >/dev/null 2>&1 & taken=$!
                trap 'kill -KILL $taken' EXIT
                until curl -s -o /dev/null http://127.0.0.1:8883/; do kill -0 $taken; sleep 0.05; done
                code=0
                NODE_NAME=node-a timeout -s KILL 20 \(Self.program) --server-host 127.0.0.1 || code=$?
                echo "code $code"
                """)
        }
        #expect(
            output.contains("cannot listen on port 8883 for metrics and probes: bind(") && output.contains("code 1\n"))
        #expect(!output.contains("acknowledged") && !output.contains("collecting"))
    }

    @Test("an agent that collected nothing does not log that everything is acknowledged")
    func nothingCollected() async throws {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip address add 192.0.2.10/32 dev lo
                ip address add 198.51.100.10/32 dev lo
                sysctl -qw net.ipv4.ping_group_range='0 0' net.netfilter.nf_conntrack_acct=1
                NODE_NAME=node-a \(Self.program) --server-host 127.0.0.1 --collection-interval 1h & agent=$!
                until curl -s -o /dev/null http://127.0.0.1:8883/live; do kill -0 $agent; sleep 0.05; done
                python3 -c '
                import socket
                ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
                ping.bind(("192.0.2.10", 0))
                ping.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]) + bytes(56), ("198.51.100.10", 0))
                ping.recv(2000)
                '
                conntrack -D -p icmp >/dev/null 2>&1
                kill -TERM $agent
                wait $agent && echo "code 0"
                """)
        }
        // The events of protocols that are not collected do not count.
        #expect(output.contains("no flows were collected") && output.contains("code 0\n"), "\(output)")
        #expect(!output.contains("all collected flows"))
    }

    /// Runs `body` while the agent's services run, and cancels them after it.
    private func withLiveAgent(
        _ body: (_ group: MultiThreadedEventLoopGroup, _ port: Int) async -> Void = { _, _ in }
    ) async throws {
        try NetworkNamespace.requireSandbox()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let port = try freePort()
        let services = try Self.agent(metricsPort: port).services(on: group)
        await withTaskGroup(of: Void.self) { tasks in
            for service in services { tasks.addTask { try? await service.run() } }
            try? await eventually("the agent is live") {
                (try? await ChildProcess.shell("curl -sf http://127.0.0.1:\(port)/live")) != nil
            }
            await body(group, port)
            tasks.cancelAll()
        }
        try await group.shutdownGracefully()
    }

    @Test("every service of the agent ends when its task is cancelled", .timeLimit(.minutes(2)))
    func cancellation() async throws { try await withLiveAgent() }

    @Test(
        "probes and metrics are answered while the loop of the connection to the server is blocked",
        .timeLimit(.minutes(2)))
    func blockedLoop() async throws {
        try await withLiveAgent { group, port in
            await BlockedThreads.during(group.makeIterator().map { loop in { loop.execute($0) } }) {
                // It is not ready: no server is connected.
                for (path, status) in [("live", "200"), ("ready", "503"), ("metrics", "200"), ("", "200")] {
                    #expect(await ChildProcess.httpStatus(of: "http://127.0.0.1:\(port)/\(path)") == status, "/\(path)")
                }
            }
        }
    }

    @Test("if one service of the agent fails, the others end", arguments: 0..<4)
    func failingService(place: Int) async throws {
        try NetworkNamespace.requireSandbox()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var services = try Self.agent(metricsPort: freePort()).services(on: group)
        #expect(services.count == 4)
        services[place] = FailingService()
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run(services, until: patient(quiet), quiet)
        }
        try await group.shutdownGracefully()
    }

    @Test("an agent without file descriptors logs and counts it, uses little CPU, and answers again when some are free")
    func noDescriptors() async throws {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                cd "$(mktemp -d)"
                cat >test.py <<'END'
                import os, resource, socket, subprocess, sys, time
                from urllib.request import urlopen
                agent = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", sys.argv[1], "--server-host", "127.0.0.1",
                     "--collection-interval", "1s"],
                    env=dict(os.environ, NODE_NAME="node-a"), stdout=subprocess.DEVNULL, stderr=open("log", "w"))
                def get(path):
                    return urlopen("http://127.0.0.1:8883" + path, timeout=60).read().decode()
                def wait(condition):
                    while not condition():
                        assert agent.poll() is None, open("log").read()
                        time.sleep(0.05)
                def lives():
                    try:
                        return get("/live")
                    except OSError:
                        return False
                def cpu():
                    fields = open("/proc/%d/stat" % agent.pid).read().rsplit(")", 1)[1].split()
                    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                # By then everything has started and has its descriptors.
                wait(lambda: lives() and "kubenetmon_agent_collections_total 0\\n" not in get("/metrics"))
                used = len(os.listdir("/proc/%d/fd" % agent.pid))
                hard = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)[1]
                resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (used + 20, hard))
                held = [socket.create_connection(("127.0.0.1", 8883)) for _ in range(40)]
                wait(lambda: "cannot accept a connection" in open("log").read())
                before = cpu()
                time.sleep(2)
                print("busy" if cpu() - before > 0.5 else "idle")
                for connection in held: connection.close()
                wait(lives)
                resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (hard, hard))
                failures = [line for line in get("/metrics").splitlines()
                            if line.startswith("kubenetmon_probe_accept_failures_total ")]
                print("counted" if int(failures[0].split()[1]) > 0 else failures)
                print("%d lines" % open("log").read().count("cannot accept"))
                agent.kill()
                END
                timeout 300 python3 test.py \(Self.program)
                """)
        }
        #expect(output == "idle\ncounted\n1 lines\n")
    }

    @Test("two megabytes of requests whose responses are never read take no memory, and probes are still answered")
    func unreadAnswers() async throws {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                cd "$(mktemp -d)"
                cat >test.py <<'END'
                import os, socket, subprocess, sys, time
                from urllib.request import urlopen
                agent = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", sys.argv[1], "--server-host", "127.0.0.1"],
                    env=dict(os.environ, NODE_NAME="node-a"), stdout=subprocess.DEVNULL, stderr=open("log", "w"))
                def get(path):
                    return urlopen("http://127.0.0.1:8883" + path, timeout=60).read().decode()
                def memory():
                    return [int(line.split()[1]) for line in open("/proc/%d/status" % agent.pid) if "VmHWM" in line][0]
                while True:
                    try:
                        get("/live")
                        break
                    except OSError:
                        assert agent.poll() is None
                        time.sleep(0.05)
                for _ in range(3): get("/metrics")
                before = memory()
                floods = []
                for _ in range(32):
                    flood = socket.create_connection(("127.0.0.1", 8883))
                    flood.setblocking(False)
                    floods.append([flood, b"GET /metrics HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" * 60000])
                slowest = 0
                for _ in range(50):
                    for flood in floods:
                        try:
                            flood[1] = flood[1][flood[0].send(flood[1]):]
                        except (BlockingIOError, ConnectionError):
                            pass
                    begun = time.monotonic()
                    get("/live")
                    slowest = max(slowest, time.monotonic() - begun)
                    time.sleep(0.02)
                print("fast" if slowest < 2 else slowest)
                print("small" if memory() - before < 6000 else memory() - before)
                agent.kill()
                END
                timeout 300 python3 test.py \(Self.program)
                """)
        }
        #expect(output == "fast\nsmall\n")
    }
}
