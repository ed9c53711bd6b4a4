// SPDX-License-Identifier: Apache-2.0

package import FlowIngest
import FlowWire
package import KubernetesAPI
package import Logging
import NIOCore
import NIOPosix
import Secrets
import Settings
package import TransportSecurity

/// The rules for admitting agents, and the limits on their connections.
package struct AgentAccess: Equatable, Sendable {
    /// The way in which an agent authenticates.
    package enum Authentication: String, CaseIterable, Sendable {
        /// None, or the agent's TLS certificate.
        case none
        /// A shared secret.
        case token
        /// A token of the agent's Kubernetes service account, bound to a pod on the node that the agent names.
        case kubernetes
    }

    /// The TLS files; nil for connections without TLS.
    package var tls: TLSFiles?
    package var authentication: Authentication
    var tokenFile: TokenFile?
    package var tokenAudience: String
    /// The agents' service accounts, as `NAMESPACE/NAME`.
    package var serviceAccounts: [String]
    /// The maximum age of a connection; zero for no limit.
    package var maximumConnectionAge: Duration
    package var limits = IngestServer.Limits()

    /// Reads the settings.
    init(_ settings: inout SettingsReader) {
        let certificate = settings.path(
            "tls_certificate_file",
            "Server certificate (PEM) with its intermediate certificates; turns on TLS for agents' connections. The "
                + "TLS files are reloaded when they change.")
        let key = settings.path("tls_key_file", "Private key (PEM) of tls_certificate_file.")
        let authorities = settings.path(
            "tls_client_ca_file",
            "CA certificates (PEM) that agents' client certificates must be signed by; if unset, agents need none.")
        if certificate != nil || key != nil || authorities != nil {
            tls = TLSFiles(certificate: certificate, key: key, authorities: authorities)
            if certificate == nil { settings.report("tls_certificate_file", "is required for TLS") }
            if key == nil { settings.report("tls_key_file", "is required for TLS") }
        }
        authentication = settings.choice(
            "agent_authentication", default: .none,
            "How agents authenticate: token for a secret shared with the servers, kubernetes for their service "
                + "accounts' tokens, which bind each agent to its node.")
        tokenFile = settings.path(
            "agent_token_file",
            "File with the agents' shared tokens, one per line; reloaded when it changes."
        ).map { TokenFile($0) }
        tokenAudience = settings.text(
            "agent_token_audience", default: "kubenetmon-server", allowed: "the audience of a token",
            "Audience required in the agents' service-account tokens.")
        serviceAccounts = settings.value(
            "agent_service_accounts", default: ["kubenetmon-agent/kubenetmon-agent"],
            allowed: "a comma-separated list of NAMESPACE/NAME", "Service accounts that agents may use.",
            show: { $0.joined(separator: ",") }, parse: Self.accounts)
        maximumConnectionAge = settings.duration(
            "max_connection_age", in: .seconds(1) ... .seconds(365 * 86400), orZero: true, default: .seconds(300),
            "Connection age, plus or minus 10 %, at which an agent is asked to reconnect unless its batches wait for "
                + "ClickHouse, so that agents spread over all replicas; 0s for never.",
            .alias("max_grpc_connection_age"))
        limits.connections = settings.integer(
            "max_connections", in: 1...1_000_000, default: limits.connections, "Limit on open agent connections.")
        limits.connectionsPerSource = settings.integer(
            "max_connections_per_source", in: 1...1_000_000, default: limits.connectionsPerSource,
            "Limit on open connections from one IPv4 address or IPv6 /64.")
        limits.batchesInFlight = settings.integer(
            "max_batches_in_flight", in: 16...1_000_000, default: limits.batchesInFlight,
            "Limit on one agent's batches that wait for ClickHouse; above it, reading from the agent is paused.")
        checkAuthentication(&settings)
    }

    private func checkAuthentication(_ settings: inout SettingsReader) {
        if authentication == .token, tokenFile == nil {
            settings.report("agent_token_file", "is required for agent_authentication: token")
        }
        if authentication != .token, tokenFile != nil {
            settings.report("agent_token_file", "has no effect without agent_authentication: token")
        }
        switch (tls, authentication) {
        case (nil, .none):
            settings.warn(
                """
                agents' connections are neither encrypted nor authenticated, so any client that reaches the port can \
                send flows: set tls_certificate_file and tls_key_file, and tls_client_ca_file or agent_authentication \
                (docs/security.md)
                """)
        case (nil, _):
            settings.warn(
                """
                agents' connections are not encrypted, so their tokens can be read on the network and misused: set \
                tls_certificate_file and tls_key_file (docs/security.md)
                """)
        case (let tls?, .none) where tls.authorities == nil:
            settings.warn(
                """
                agents are not authenticated, so any client that reaches the port can send flows: set \
                tls_client_ca_file or agent_authentication (docs/security.md)
                """)
        default: break
        }
    }

    private static func accounts(_ text: String) -> [String]? {
        let accounts = text.split(separator: ",").map { $0.filter { $0 != " " } }
        guard !accounts.isEmpty, accounts.allSatisfy({ $0.split(separator: "/").count == 2 }) else { return nil }
        return accounts
    }

    /// Returns the configuration of the agents' port.
    ///
    /// - Parameter cluster: The cluster whose API server reviews service accounts' tokens.
    package func configuration(cluster: ClusterConfiguration?, logger: Logger) -> IngestServer.Configuration {
        var configuration = IngestServer.Configuration()
        configuration.tls = tls
        configuration.limits = limits
        if maximumConnectionAge > .zero { configuration.maximumConnectionAge = TimeAmount(maximumConnectionAge) }
        switch authentication {
        case .none: break
        case .token:
            // Without its file or cluster, a way to authenticate must not admit every agent.
            guard let tokenFile else { preconditionFailure("agent_authentication: token without a file") }
            configuration.authenticator = SharedTokenAuthenticator(TokenSource(tokenFile, logger: logger))
        case .kubernetes:
            guard let cluster else { preconditionFailure("agent_authentication: kubernetes without an API server") }
            configuration.authenticator = ServiceAccountAuthenticator(
                TokenReviewer(cluster: cluster, audience: tokenAudience), accounts: serviceAccounts,
                audience: tokenAudience)
        }
        return configuration
    }

    /// Throws if the TLS files cannot be used.
    func checkTLSFiles() throws(CredentialError) { try tls?.check(isServer: true) }

    /// The problems with the files, one line each.
    var problemsOfFiles: [String] {
        var problems: [String] = []
        do throws(CredentialError) { try checkTLSFiles() } catch { problems.append("\(error)") }
        do throws(CredentialError) { _ = try tokenFile?.read() } catch { problems.append("\(error)") }
        return problems
    }
}
