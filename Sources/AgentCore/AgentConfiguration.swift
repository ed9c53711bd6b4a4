// SPDX-License-Identifier: Apache-2.0

package import Conntrack
package import FlowExport
package import FlowModel
import InstanceLock
package import Logs
package import Secrets
package import Settings
import TransportSecurity

/// The agent's settings. Variables of ClickHouse's kubenetmon keep its names and defaults.
package struct AgentConfiguration: Equatable, Sendable {
    package var nodeName: String
    /// Empty if the agent hands over to no other agent.
    var workloadName: String
    package var collectionInterval: Duration
    package var serverHost: String
    package var serverPort: Int
    package var serverAnswerTimeout: Duration
    /// Nil for connections without TLS.
    package var tls: FlowExporter.TLS?
    package var token: TokenFile?
    package var metricsPort: Int
    /// Nil for all addresses of the host.
    package var metricsAddress: IPAddress?
    package var collectionMode: ConntrackTable.Mode
    package var protocols: [TransportProtocol]
    var zones: ZoneSet
    package var spoolBytes: Int
    /// Nil to keep unacknowledged batches in memory only.
    package var spoolDirectory: String?
    package var eventBufferBytes: Int
    package var enableAccounting: Bool
    package var skipSanityCheck: Bool
    package var uptimeWait: Duration
    package var shutdownTimeout: Duration
    package var logging: LogConfiguration

    /// Reads the settings.
    package init(_ settings: inout SettingsReader) {
        nodeName = settings.text(
            "node_name", allowed: "the name of the Kubernetes node (spec.nodeName)", "Name of the Kubernetes node.")
        collectionInterval = settings.duration(
            "collection_interval", in: .milliseconds(100) ... .seconds(3600), default: .seconds(5),
            "Time between two collections.")
        serverHost = settings.text(
            "server_host", default: "kubenetmon-server.kubenetmon-server.svc.cluster.local",
            allowed: "a host name or address", "Host of the server.", .variable("KUBENETMON_SERVER_SERVICE_HOST"))
        serverPort = settings.integer(
            "server_port", in: 1...65535, default: 8884, "Port of the server.",
            .variable("KUBENETMON_SERVER_SERVICE_PORT"))
        serverAnswerTimeout = settings.duration(
            "server_answer_timeout", in: .seconds(1) ... .seconds(3600), default: .seconds(60),
            "Longest silence of a server that owes acknowledgements before another server is tried; a server sends a "
                + "message at least every 15 s.")
        tls = Self.tls(&settings)
        token = settings.path(
            "token_file", "File with the agent's bearer token; read again for every connection."
        ).map { TokenFile($0) }
        if tls == nil, !URLAuthority(host: serverHost).isLoopback {
            settings.warn(
                """
                flows\(token == nil ? "" : " and the token") are sent to the server unencrypted: set SERVER_TLS=true \
                if the server has a certificate (docs/security.md)
                """)
        }
        metricsPort = settings.integer(
            "metrics_port", in: 1...65535, default: 8883, "Port for /metrics, /live and /ready.")
        metricsAddress = settings.address(
            "metrics_address",
            """
            Address that serves /metrics, /live and /ready, in addition to 127.0.0.1; all addresses of the host if \
            unset. The manifests set the node's address.
            """)
        collectionMode = settings.choice(
            "collection_mode", default: ConntrackTable.Mode.exact,
            """
            How counters are read: exact loses nothing, fast takes less CPU time and loses about 0.2 % of a large mixed \
            table.
            """)
        protocols = Self.protocols(&settings)
        zones = settings.value(
            "conntrack_zones", default: .all,
            allowed: """
                all, or a comma-separated list of zones and ranges from 0 to 65535; with ! before each, they are \
                excluded
                """,
            "Conntrack zones to collect, such as 0,100-199 or !5.", show: \.description, parse: ZoneSet.init)
        enableAccounting = settings.bool(
            "enable_accounting", default: false,
            "Turn on net.netfilter.nf_conntrack_acct if it is off.",
            .variable("ENABLE_CONNTRACK_ACCOUNTING"))
        let waiting = 1 << 16...1 << 30
        spoolBytes = settings.integer(
            "spool_bytes", in: waiting, default: 16 << 20, unit: "bytes",
            "Limit on unacknowledged batches, in bytes; above it, counters stay in the kernel.")
        spoolDirectory = settings.path(
            "spool_directory",
            "Directory that keeps unacknowledged batches when the agent is killed; if unset, they are in memory only.")
        eventBufferBytes = settings.integer(
            "event_buffer_bytes", in: waiting, default: 64 << 20, unit: "bytes",
            "Receive buffer for conntrack events in the kernel; an event takes 1280 bytes.")
        skipSanityCheck = settings.bool(
            "skip_conntrack_sanity_check", default: false,
            "Skip the check that some conntrack entry has non-zero counters.")
        uptimeWait = settings.duration(
            "uptime_wait_duration", in: .seconds(1) ... .seconds(30 * 86400), orZero: true, default: .seconds(300),
            "Time after which a conntrack table without any non-zero counter is reported.")
        shutdownTimeout = settings.duration(
            "shutdown_timeout", in: .milliseconds(100) ... .seconds(3600), default: .seconds(15),
            "Time to wait for acknowledgements at shutdown.")
        workloadName = settings.value(
            "workload_name", default: "",
            allowed: "at most \(LockConfiguration.maximumWorkloadBytes) printable ASCII characters without spaces",
            "Workload of this agent, such as NAMESPACE/DAEMONSET; an agent hands over to a new one of its workload.",
            show: { $0 }, parse: { LockConfiguration.isWorkload($0) ? $0 : nil })
        logging = LogConfiguration(&settings)
    }

    private static func tls(_ settings: inout SettingsReader) -> FlowExporter.TLS? {
        let isOn = settings.bool(
            "server_tls", default: false,
            "Encrypt the connection to the server and verify the server's certificate.")
        let authorities = settings.path(
            "server_ca_file",
            "CA certificates (PEM) that must have signed the server's certificate; the system's if unset. Reloaded "
                + "when changed, as are the client's certificate and key.")
        let certificate = settings.path(
            "client_certificate_file", "Client certificate (PEM), sent if the server requests one.")
        let key = settings.path("client_key_file", "Private key (PEM) of client_certificate_file.")
        let name = settings.value(
            "server_name", default: String?.none, allowed: "a DNS name",
            "Name that the server's certificate must contain; server_host if unset.", show: { $0 ?? "" },
            parse: { name in name.isEmpty ? .none : .some(name) })
        if (certificate == nil) != (key == nil) {
            settings.report(
                certificate == nil ? "client_certificate_file" : "client_key_file",
                "is required: the certificate and its key must both be set")
        }
        guard isOn else {
            for (key, value) in [
                ("server_ca_file", authorities), ("client_certificate_file", certificate), ("server_name", name),
            ] where value != nil { settings.report(key, "has no effect without server_tls") }
            return nil
        }
        return FlowExporter.TLS(
            files: TLSFiles(certificate: certificate, key: key, authorities: authorities), serverName: name)
    }

    /// The problems of the files that the settings name, one line each.
    var problemsOfFiles: [String] {
        var problems: [String] = []
        do throws(CredentialError) { try tls?.files.check(isServer: false) } catch { problems.append("\(error)") }
        do throws(CredentialError) { _ = try token?.read() } catch { problems.append("\(error)") }
        return problems
    }

    /// Reads the protocols to collect.
    static func protocols(_ settings: inout SettingsReader) -> [TransportProtocol] {
        settings.value(
            "protocols", default: [.tcp, .udp],
            allowed: "a comma-separated list of \(TransportProtocol.byName.keys.sorted().joined(separator: ", "))",
            "Protocols to collect.", .variable("COLLECTED_PROTOCOLS"), show: names, parse: parseProtocols)
    }

    private static func parseProtocols(_ text: String) -> [TransportProtocol]? {
        let names = text.split(separator: ",")
        let protocols = names.compactMap { name in
            TransportProtocol.byName[name.filter { $0 != " " }.lowercased()]
        }
        return protocols.isEmpty || protocols.count < names.count ? nil : protocols
    }

    private static func names(_ protocols: [TransportProtocol]) -> String {
        protocols.map(\.description).joined(separator: ",")
    }
}
