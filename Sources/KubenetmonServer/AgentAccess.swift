// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowWire
import KubernetesAPI
import Logging
import NIOCore
import NIOPosix
import Operations
import TransportSecurity

/// The rules for admitting agents, and the limits on their connections.
struct AgentAccess: Equatable, Sendable {
    /// The way in which an agent authenticates.
    enum Authentication: String, CaseIterable, Sendable {
        /// None, or the agent's TLS certificate.
        case none
        /// A shared secret.
        case token
        /// A token of the agent's Kubernetes service account, bound to a pod on the node that the agent names.
        case kubernetes
    }

    /// The TLS files; nil for connections without TLS.
    var tls: TLSFiles?
    var authentication: Authentication
    var tokenFile: TokenFile?
    var tokenAudience: String
    /// The agents' service accounts, as `NAMESPACE/NAME`.
    var serviceAccounts: [String]
    /// The maximum age of a connection; zero for no limit.
    var maximumConnectionAge: Duration
    var limits = IngestServer.Limits()

    /// Reads the settings.
    init(_ settings: inout SettingsReader) {
        let certificate = settings.path(
            "tls_certificate_file",
            "Certificate (PEM) that agents are shown, with those between it and the authority; connections are encrypted "
                + "where it is set. Read anew when it changes, as are the other files.")
        let key = settings.path("tls_key_file", "Key (PEM) of tls_certificate_file.")
        let authorities = settings.path(
            "tls_client_ca_file",
            "Certificates (PEM) that agents' must be signed by; agents need none where it is unset.")
        if certificate != nil || key != nil || authorities != nil {
            tls = TLSFiles(certificate: certificate, key: key, authorities: authorities)
            if certificate == nil { settings.report("tls_certificate_file", "is needed for TLS") }
            if key == nil { settings.report("tls_key_file", "is needed for TLS") }
        }
        authentication = settings.choice(
            "agent_authentication", default: .none,
            "How agents prove that they may send: token is a secret that they share with the servers, kubernetes the token "
                + "of their service account, which binds each to its node.")
        tokenFile = settings.path(
            "agent_token_file",
            "File with the secret of agents, or several of them, a line each. Read anew as it changes."
        ).map { TokenFile($0) }
        tokenAudience = settings.text(
            "agent_token_audience", default: "kubenetmon-server", allowed: "the audience of a token",
            "Whom the tokens of agents' service accounts must be meant for.")
        serviceAccounts = settings.value(
            "agent_service_accounts", default: ["kubenetmon-agent/kubenetmon-agent"],
            allowed: "a comma-separated list of NAMESPACE/NAME", "Service accounts that agents may be of.",
            show: { $0.joined(separator: ",") }, parse: Self.accounts)
        maximumConnectionAge = settings.duration(
            "max_connection_age", in: .seconds(1) ... .seconds(365 * 86400), orZero: true, default: .seconds(300),
            "Age, give or take a tenth, at which an agent is asked to connect anew, so that a replica that comes back gets "
                + "its share; 0s for never.", .alias("max_grpc_connection_age"))
        limits.connections = settings.integer(
            "max_connections", in: 1...1_000_000, default: limits.connections, "Agents' connections at the same time.")
        limits.connectionsPerSource = settings.integer(
            "max_connections_per_source", in: 1...1_000_000, default: limits.connectionsPerSource,
            "Connections from one IPv4 address or IPv6 /64 at the same time.")
        limits.batchesInFlight = settings.integer(
            "max_batches_in_flight", in: 16...1_000_000, default: limits.batchesInFlight,
            "Batches of one agent that wait for ClickHouse, above which it is not read from.")
        checkAuthentication(&settings)
    }

    private func checkAuthentication(_ settings: inout SettingsReader) {
        if authentication == .token, tokenFile == nil {
            settings.report("agent_token_file", "is needed for agent_authentication: token")
        }
        if authentication != .token, tokenFile != nil {
            settings.report("agent_token_file", "has no effect without agent_authentication: token")
        }
        switch (tls, authentication) {
        case (nil, .none):
            settings.warn(
                """
                agents' flows travel unencrypted, and whoever reaches the port can send some: set tls_certificate_file and \
                tls_key_file, and tls_client_ca_file or agent_authentication (docs/security.md)
                """)
        case (nil, _):
            settings.warn(
                """
                agents' flows and tokens travel unencrypted, and whoever sees a token can use it: set tls_certificate_file \
                and tls_key_file (docs/security.md)
                """)
        case (let tls?, .none) where tls.authorities == nil:
            settings.warn(
                """
                whoever reaches the port can send flows: set tls_client_ca_file or agent_authentication (docs/security.md)
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
    func configuration(cluster: ClusterConfiguration?, logger: Logger) -> IngestServer.Configuration {
        var configuration = IngestServer.Configuration()
        configuration.tls = tls
        configuration.limits = limits
        if maximumConnectionAge > .zero { configuration.maximumConnectionAge = TimeAmount(maximumConnectionAge) }
        switch authentication {
        case .none: break
        case .token:
            configuration.authenticator = tokenFile.map {
                SharedTokenAuthenticator(TokenSource($0, logger: logger))
            }
        case .kubernetes:
            configuration.authenticator = cluster.map {
                ServiceAccountAuthenticator(
                    TokenReviewer(cluster: $0, audience: tokenAudience), accounts: serviceAccounts,
                    audience: tokenAudience)
            }
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
