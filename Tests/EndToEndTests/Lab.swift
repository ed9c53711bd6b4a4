// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport

/// The test bed of `tools/lab`: two nodes with two pods each, a service address and the outside. Only one can exist at
/// a time.
final class Lab: Sendable {
    /// The amounts of pods' packets that a node's firewall has counted, independent of agents.
    struct Counters: Decodable, Equatable {
        struct Amount: Decodable, Equatable {
            var packets: UInt64
            var bytes: UInt64
        }

        var tcp_orig: Amount
        var tcp_reply: Amount
        var udp_orig: Amount
        var udp_reply: Amount

        var bytes: UInt64 { tcp_orig.bytes + tcp_reply.bytes + udp_orig.bytes + udp_reply.bytes }
        var tcpBytes: UInt64 { tcp_orig.bytes + tcp_reply.bytes }
        var udpBytes: UInt64 { udp_orig.bytes + udp_reply.bytes }
    }

    /// The sandbox's address on the nodes' network, where servers listen.
    static let serverAddress = "172.18.0.1"

    /// A name with two addresses in the sandbox, created by ``makeServersName()``.
    static let serversName = "servers.lab"

    /// Makes the test bed, runs `body` in it and takes it down again.
    static func run(_ body: (Lab) async throws -> Void) async throws {
        try NetworkNamespace.requireSandbox()
        _ = try? await ChildProcess.run(Repository.file("tools/lab"), ["down"])
        try await ChildProcess.run(Repository.file("tools/lab"), ["up"])
        do {
            try await body(Lab())
        } catch {
            _ = try? await ChildProcess.run(Repository.file("tools/lab"), ["down"])
            throw error
        }
        try await ChildProcess.run(Repository.file("tools/lab"), ["down"])
    }

    /// Starts a program in a namespace of the test bed.
    func start(
        _ program: URL, _ arguments: [String] = [], in namespace: String, environment: [String: String] = [:]
    ) throws -> ChildProcess {
        try ChildProcess(
            URL(filePath: "/usr/bin/env"), ["ip", "netns", "exec", namespace, program.path] + arguments,
            environment: environment)
    }

    /// Starts an agent on a node, and waits until it collects.
    func startAgent(on node: String, serverPort: Int, settings: [String: String] = [:]) async throws -> ChildProcess {
        let agent = try start(
            Repository.program("kubenetmon-agent"), in: node,
            environment: [
                "NODE_NAME": node, "COLLECTION_INTERVAL": "500ms",
                // On a busy machine slow steps are not failures.
                "SERVER_ANSWER_TIMEOUT": "5m", "SHUTDOWN_TIMEOUT": "5m",
                "KUBENETMON_SERVER_SERVICE_HOST": Self.serverAddress,
                "KUBENETMON_SERVER_SERVICE_PORT": "\(serverPort)",
            ].merging(settings) { $1 })
        try await eventually("the agent on \(node) runs") {
            guard agent.isRunning else { throw TestEnvironmentError("the agent ended: \(agent.output)") }
            return agent.output.contains("serving /metrics")
        }
        return agent
    }

    /// Starts two servers behind one name, waits until they are ready, and starts an agent on each node.
    func startTwoServersAndAgents(
        _ database: TestDatabase, endpoint: String? = nil, extraKeys: String = ""
    ) async throws -> (servers: [ServerUnderTest], agents: [ChildProcess]) {
        try await makeServersName(secondPort: 8885)
        let servers = [
            try ServerUnderTest.start(database, endpoint: endpoint, extraKeys: extraKeys),
            try ServerUnderTest.start(
                database, endpoint: endpoint, port: 8885, probePort: 8881, extraKeys: extraKeys),
        ]
        for server in servers { try await server.waitUntilReady() }
        var agents: [ChildProcess] = []
        for node in ["node-a", "node-b"] {
            agents.append(
                try await startAgent(
                    on: node, serverPort: ServerUnderTest.port,
                    settings: ["KUBENETMON_SERVER_SERVICE_HOST": Self.serversName]))
        }
        return (servers, agents)
    }

    /// Gives two servers one name: connections to its second address reach `secondPort` of the sandbox, as with a
    /// Service.
    func makeServersName(secondPort: Int) async throws {
        let second = "172.18.0.11"
        try await ChildProcess.shell(
            """
            ip address add \(second)/24 dev br-nodes
            nft add table ip servers
            nft 'add chain ip servers prerouting { type nat hook prerouting priority dstnat; }'
            nft add rule ip servers prerouting ip daddr \(second) tcp dport \(ServerUnderTest.port) redirect to :\(secondPort)
            getent hosts \(Self.serversName) >/dev/null || {
              { cat /etc/hosts; echo \(Self.serverAddress) \(Self.serversName); echo \(second) \(Self.serversName); } \
                > /run/hosts-of-the-lab
              mount --bind /run/hosts-of-the-lab /etc/hosts
            }
            """)
    }

    /// Sends SIGTERM to an agent, and waits until it has handed over everything.
    func stop(_ agent: ChildProcess) async throws {
        agent.signal(SIGTERM)
        let code = try await agent.wait()
        guard code == 0 else { throw TestEnvironmentError("the agent exited with \(code): \(agent.output)") }
    }

    /// Returns one of an agent's metrics: the series with the given labels, or without labels the sum of all series of
    /// that name.
    func metric(_ name: String, on node: String) async throws -> UInt64 {
        try MetricsText(try await page(of: node)).number(of: name)
    }

    /// Returns the network bytes of pods that a server has certainly acknowledged to the agents on these nodes, which
    /// must not have had another server.
    func acknowledgedBytes(by server: ServerUnderTest, to nodes: [String]) async throws -> UInt64 {
        var all: UInt64 = 0
        for node in nodes { all += try await metric("kubenetmon_agent_acknowledged_bytes_total", on: node) }
        // Traffic that is not recorded, such as the agents' own connections, is acknowledged too.
        return all - min(all, try await server.metric("kubenetmon_server_ignored_bytes_total"))
    }

    /// Returns an agent's page of metrics.
    func page(of node: String) async throws -> String {
        try await ChildProcess.run(
            URL(filePath: "/usr/bin/env"),
            ["ip", "netns", "exec", node, "curl", "-sSf", "http://127.0.0.1:8883/metrics"])
    }

    /// Sets a kernel setting in a namespace.
    func sysctl(_ setting: String, in namespace: String) async throws {
        try await ChildProcess.shell("ip netns exec \(namespace) sysctl -qw \(setting)")
    }

    /// Starts the far end of ``churn(_:from:to:port:rate:seconds:localPorts:)`` in a pod.
    func startChurnServer(in pod: String, port: Int = 8080) async throws -> ChildProcess {
        let server = try start(Repository.program("Churn"), ["serve", "\(port)"], in: pod)
        try await eventually("the churn server listens") { server.output.contains("ready") }
        return server
    }

    /// Makes short exchanges at a rate, or more slowly on a busy machine, and returns how many succeeded.
    func churn(
        _ transport: String, from pod: String, to address: String, port: Int = 8080, rate: Int, seconds: Double,
        localPorts: ClosedRange<Int>? = nil
    ) async throws -> Int {
        let client = try start(
            Repository.program("Churn"),
            [
                transport, address, "\(port)", "\(rate)", "\(seconds)", "\(localPorts?.lowerBound ?? 0)",
                "\(localPorts?.count ?? 0)",
            ], in: pod)
        guard try await client.wait() == 0,
            let count = Int(client.output.trimming(while: \.isWhitespace))
        else { throw TestEnvironmentError("churn failed: \(client.output)") }
        return count
    }

    /// Makes traffic of every known shape for some seconds, with `tools/traffic`.
    func makeTraffic(seconds: Int) async throws {
        try await ChildProcess.run(Repository.file("tools/traffic"), ["run", "--seconds", "\(seconds)"])
    }

    /// Returns the nodes' counters once no packet has come for a second.
    func countersAtRest() async throws -> [String: Counters] {
        let counters = try await atRest { try await ChildProcess.run(Repository.file("tools/lab"), ["counters"]) }
        struct Page: Decodable {
            var a: Counters
            var b: Counters

            enum CodingKeys: String, CodingKey {
                case a = "node-a"
                case b = "node-b"
            }
        }
        let page = try JSONDecoder().decode(Page.self, from: Data(counters.utf8))
        return ["node-a": page.a, "node-b": page.b]
    }
}

extension String {
    fileprivate func trimming(while predicate: (Character) -> Bool) -> Substring {
        var rest = self[...]
        while let last = rest.last, predicate(last) { rest.removeLast() }
        return rest
    }
}
