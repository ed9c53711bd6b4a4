// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Operations

@main
struct KubenetmonAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kubenetmon-agent",
        abstract: "Sends what this node's connections have carried to a kubenetmon-server.",
        discussion: """
            Reads and zeroes the kernel's conntrack table once an interval; needs the capability CAP_NET_ADMIN. Every \
            setting is also an environment variable; a flag wins. Durations are written like 5s, 1m30s or 500ms.
            """,
        version: Daemon.version)

    @Option(help: "Name of the Kubernetes node. [NODE_NAME, required]")
    var nodeName: String?
    @Option(help: "Time between two collections. [COLLECTION_INTERVAL, default 5s]")
    var collectionInterval: String?
    @Option(
        help: """
            Host of the server. [KUBENETMON_SERVER_SERVICE_HOST, default \
            kubenetmon-server.kubenetmon-server.svc.cluster.local]
            """)
    var serverHost: String?
    @Option(help: "Port of the server. [KUBENETMON_SERVER_SERVICE_PORT, default 8884]")
    var serverPort: String?
    @Option(
        help: """
            How long a server that owes acknowledgements may say nothing before another is tried. \
            [SERVER_ANSWER_TIMEOUT, default 60s]
            """)
    var serverAnswerTimeout: String?
    @Option(help: "Port for /metrics, /live and /ready. [METRICS_PORT, default 8883]")
    var metricsPort: String?
    @Option(
        help: """
            How counters are read: exact loses nothing, fast takes less CPU time and loses about 0.2 % of a large mixed \
            table. [COLLECTION_MODE, default exact]
            """)
    var collectionMode: String?
    @Option(help: "Protocols to collect, separated by commas. [COLLECTED_PROTOCOLS, default tcp,udp]")
    var protocols: String?
    @Option(
        help: """
            Whether to turn on net.netfilter.nf_conntrack_acct where it is off. [ENABLE_CONNTRACK_ACCOUNTING, default \
            false]
            """)
    var enableAccounting: String?
    @Option(
        help: """
            Bytes of batches that may wait for their acknowledgement; above, the kernel is left to count. [SPOOL_BYTES, \
            default 16777216]
            """)
    var spoolBytes: String?
    @Option(
        help: """
            Bytes of conntrack events that may wait in the kernel; an event takes 1280. [EVENT_BUFFER_BYTES, default \
            67108864]
            """)
    var eventBufferBytes: String?
    @Option(
        help: """
            Whether not to look if any entry has ever counted anything. [SKIP_CONNTRACK_SANITY_CHECK, default false]
            """)
    var skipConntrackSanityCheck: String?
    @Option(
        help: """
            Time after which a table that has never shown a counter is reported. [UPTIME_WAIT_DURATION, default 300s]
            """)
    var uptimeWaitDuration: String?
    @Option(help: "How long to wait for acknowledgements when shutting down. [SHUTDOWN_TIMEOUT, default 15s]")
    var shutdownTimeout: String?
    @Option(help: "Least severe level to log. [LOG_LEVEL, default info]")
    var logLevel: String?

    func run() async throws {
        let configuration: AgentConfiguration
        do {
            configuration = try AgentConfiguration(
                AgentConfiguration.Flags(
                    nodeName: nodeName, collectionInterval: collectionInterval, serverHost: serverHost,
                    serverPort: serverPort, serverAnswerTimeout: serverAnswerTimeout, metricsPort: metricsPort,
                    collectionMode: collectionMode,
                    protocols: protocols, spoolBytes: spoolBytes, eventBufferBytes: eventBufferBytes,
                    enableAccounting: enableAccounting, skipSanityCheck: skipConntrackSanityCheck,
                    uptimeWait: uptimeWaitDuration, shutdownTimeout: shutdownTimeout, logLevel: logLevel),
                environment: ProcessEnvironment.variables)
        } catch {
            throw ValidationError("\(error)")
        }
        try await Agent(configuration).run()
    }
}

/// The process's environment, without Foundation.
private enum ProcessEnvironment {
    static var variables: [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return variables
    }
}
