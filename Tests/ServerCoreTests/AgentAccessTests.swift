// SPDX-License-Identifier: Apache-2.0

import FlowWire
import TransportSecurity
import Testing

import ServerCore

@Suite struct AgentAccessTests {
    private static let required = "environment: test\ncloud: aws\nregion: eu-central-1\ncluster: main\n"
    private static let certificate = "tls_certificate_file: /tls/tls.crt\ntls_key_file: /tls/tls.key\n"

    @Test("every key about agents' access is read") func everyKeyIsRead() throws {
        let access = try ServerConfiguration.read(
            """
            \(Self.required)\(Self.certificate)
            tls_client_ca_file: /tls/ca.crt
            agent_authentication: kubernetes
            agent_token_audience: flows
            agent_service_accounts: a/b, c/d
            max_connection_age: 1m
            max_connections: 5
            max_connections_per_source: 4
            max_batches_in_flight: 32
            """
        ).value.agents
        #expect(access.tls == TLSFiles(certificate: "/tls/tls.crt", key: "/tls/tls.key", authorities: "/tls/ca.crt"))
        #expect(access.authentication == .kubernetes && access.tokenAudience == "flows")
        #expect(access.serviceAccounts == ["a/b", "c/d"])
        #expect(access.maximumConnectionAge == .seconds(60))
        #expect(access.limits.connections == 5 && access.limits.connectionsPerSource == 4)
        #expect(access.limits.batchesInFlight == 32)
    }

    @Test(
        "kubenetmon's key max_grpc_connection_age sets the maximum age",
        arguments: [("", 300), ("max_grpc_connection_age: 30s", 30), ("max_connection_age: 0s", 0)])
    func kubenetmonsKeyForTheAgeCounts(_ text: String, _ seconds: Int) throws {
        #expect(
            try ServerConfiguration.read(Self.required + text).value.agents.maximumConnectionAge == .seconds(seconds))
    }

    @Test(
        "keys that contradict each other are a problem that names the key",
        arguments: [
            ("tls_certificate_file: /a", "tls_key_file"), ("tls_key_file: /a", "tls_certificate_file"),
            ("tls_client_ca_file: /a", "tls_certificate_file"), ("agent_authentication: token", "agent_token_file"),
            ("agent_token_file: /a", "agent_token_file"),
            ("agent_service_accounts: kubenetmon", "agent_service_accounts"),
            ("agent_authentication: jwt", "agent_authentication"),
        ])
    func whatDoesNotFitTogetherIsAProblemThatNamesTheKey(_ text: String, _ key: String) {
        let problems = ServerConfiguration.problems(Self.required + text)
        #expect(problems.contains { $0.contains(key) }, "\(problems)")
    }

    @Test(
        "missing encryption or authentication causes a warning",
        arguments: [
            ("", "neither encrypted nor authenticated"), ("agent_authentication: kubernetes", "are not encrypted"),
            (certificate, "are not authenticated"), ("\(certificate)tls_client_ca_file: /ca", nil),
            ("\(certificate)agent_authentication: kubernetes", nil),
        ])
    func whatIsOpenIsWarnedAbout(_ text: String, _ warning: String?) throws {
        let warnings = try ServerConfiguration.read(Self.required + text).settings.warnings
        let ours = warnings.filter { $0.contains("docs/security.md") }
        #expect(ours.count == (warning == nil ? 0 : 1))
        if let warning { #expect(ours.first?.contains(warning) == true) }
    }
}
