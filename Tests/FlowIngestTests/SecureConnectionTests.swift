// SPDX-License-Identifier: Apache-2.0

import FlowExport
import FlowIngest
import Foundation
import NIOCore
import Secrets
import TestSupport
import Testing
import TransportSecurity

@Suite struct SecureConnectionTests {
    private let certificates: TestCertificates

    init() async throws { certificates = try await TestCertificates() }

    @Test(
        "batches are sent over TLS to a server with the expected name",
        arguments: [
            ("127.0.0.1", nil), ("localhost", nil), ("127.0.0.1", "api.cluster.test"), ("localhost", "127.0.0.1"),
        ])
    func batchesTravelEncryptedToAServerOfTheRightName(_ host: String, _ name: String?) async throws {
        let ingest = try await TestIngest.start { $0.tls = certificates.serverFiles() }
        let agent = ExporterUnderTest(to: ingest.address, host: host) {
            $0.tls = .init(files: certificates.agentFiles(), serverName: name)
        }
        agent.export(7)
        let delivery = try await ingest.deliveries(1)[0]
        #expect(delivery.flows == [.test(7)])
        BatchReceipt.acknowledge([delivery.receipt])
        try await agent.acknowledged(1)
        #expect(agent.exporter.statistics.tls?.loads == 1)
        #expect(ingest.server.statistics.tls?.certificateNotAfter != nil)
        #expect(ingest.server.statistics.errors == [:])
        try await agent.stop()
    }

    @Test("an agent with a certificate of the trusted authority is admitted")
    func anAgentWithACertificateOfTheRightAuthorityIsLetIn() async throws {
        let ingest = try await TestIngest.start { $0.tls = certificates.serverFiles(asksForCertificates: true) }
        let agent = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: certificates.agentFiles("client")) }
        agent.export()
        _ = try await ingest.deliveries(1)
        #expect(agent.exporter.statistics.tls?.certificateNotAfter != nil)
        try await agent.stop()
    }

    /// Credentials of the two sides that do not match, and the reason that each side counts.
    struct Misfit: CustomTestStringConvertible {
        let testDescription: String
        var server: (name: String, asks: Bool)? = ("server", false)
        /// The agent's certificate, whether it trusts the server's authority, and the server name that it expects; nil
        /// without TLS.
        var agent: (certificate: String?, trusts: Bool, name: String?)? = (nil, true, nil)
        /// Nil if the server only sees the agent disconnect.
        let serverReason: String?
        let agentReason: String?
    }

    @Test(
        "mismatched TLS peers are counted by reason on both sides, and nothing is sent",
        arguments: [
            Misfit(
                testDescription: "a server of another authority", agent: (nil, false, nil),
                serverReason: "tls_certificate_refused", agentReason: "tls_untrusted_certificate"),
            Misfit(
                testDescription: "a server of another name", server: ("elsewhere", false),
                serverReason: nil, agentReason: "tls_other_name"),
            Misfit(
                testDescription: "a server that is called otherwise", server: ("elsewhere", false),
                agent: (nil, true, "api.cluster.test"),
                serverReason: nil, agentReason: "tls_other_name"),
            Misfit(
                testDescription: "a server whose certificate has expired", server: ("expired-server", false),
                serverReason: "tls_certificate_refused", agentReason: "tls_untrusted_certificate"),
            Misfit(
                testDescription: "an agent without a certificate", server: ("server", true),
                serverReason: "tls_no_certificate", agentReason: "tls_no_certificate"),
            Misfit(
                testDescription: "an agent whose certificate has expired", server: ("server", true),
                agent: ("expired-client", true, nil),
                serverReason: "tls_untrusted_certificate", agentReason: "tls_certificate_refused"),
            Misfit(
                testDescription: "a plain agent", agent: nil, serverReason: "tls_not_tls", agentReason: nil),
            Misfit(
                testDescription: "a plain server", server: nil, serverReason: "frame_too_long",
                agentReason: "tls_closed"),
        ])
    func whatDoesNotFitIsCountedByReasonOnBothSidesAndNothingIsSent(_ misfit: Misfit) async throws {
        let trusted = misfit.agent?.trusts == false ? try await TestCertificates() : certificates
        let ingest = try await TestIngest.start { configuration in
            configuration.tls = misfit.server.map {
                certificates.serverFiles($0.name, asksForCertificates: $0.asks)
            }
        }
        let agent = ExporterUnderTest(to: ingest.address) { configuration in
            configuration.tls = misfit.agent.map { agent in
                var files = certificates.agentFiles(agent.certificate)
                files.authorities = trusted.path("authority.pem")
                return .init(files: files, serverName: agent.name)
            }
        }
        agent.export()
        if let reason = misfit.serverReason {
            try await eventually("the server has counted the error") {
                ingest.server.statistics.errors[reason, default: 0] > 0
            }
        }
        if let reason = misfit.agentReason { try await agent.failed(reason) }
        #expect(ingest.deliveries().isEmpty)
        #expect(ingest.server.statistics.connectedAgents == 0)
        #expect(agent.exporter.statistics.balance.acknowledged.flows == 0)
        try await agent.stop()
    }

    @Test("a server without usable TLS files does not listen")
    func aServerWithoutUsableFilesDoesNotBeginToListen() async throws {
        let error = await #expect(throws: CredentialError.self) {
            try await TestIngest.start { $0.tls = TLSFiles(certificate: "/no/such/file", key: "/no/such/key") }
        }
        #expect(error?.description.contains("/no/such/file") == true)
    }

    @Test("an agent connects once its TLS files exist") func anAgentWhoseFilesComeLaterConnectsThen() async throws {
        let ingest = try await TestIngest.start { $0.tls = certificates.serverFiles() }
        let file = certificates.folder.appending(path: "later.pem")
        let agent = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: TLSFiles(authorities: file.path)) }
        agent.export()
        try await agent.failed("credentials")
        try Data(try certificates.bytes("authority.pem")).write(to: file, options: .atomic)
        _ = try await ingest.deliveries(1)
        try await agent.stop()
    }

    @Test("changed TLS files apply to new connections, and open ones stay")
    func changedFilesCountForNewConnectionsAndOpenOnesStay() async throws {
        let next = try await TestCertificates()
        let ingest = try await TestIngest.start {
            $0.tls = certificates.serverFiles(asksForCertificates: true)
            $0.fileInterval = .milliseconds(20)
        }
        let before = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: certificates.agentFiles("client")) }
        before.export()
        _ = try await ingest.deliveries(1)
        for name in ["server.pem", "server.key", "authority.pem"] {
            try Data(try next.bytes(name)).write(to: certificates.folder.appending(path: name), options: .atomic)
        }
        try await eventually("the server uses the new files") { ingest.server.statistics.tls?.loads ?? 0 > 1 }
        let after = ExporterUnderTest(to: ingest.address, node: "node-b") {
            $0.tls = .init(files: next.agentFiles("client"))
        }
        after.export()
        _ = try await ingest.deliveries(1, from: "node-b")
        before.export()
        _ = try await ingest.deliveries(2, from: "node-a")
        #expect(before.exporter.statistics.connections == 1)
        for agent in [before, after] { try await agent.stop() }
    }

    @Test("unusable new TLS files leave the previous ones in use")
    func brokenNewFilesLeaveTheServerAsItWas() async throws {
        let ingest = try await TestIngest.start {
            $0.tls = certificates.serverFiles()
            $0.fileInterval = .milliseconds(20)
        }
        let before = ingest.server.statistics.tls
        try Data("broken".utf8).write(to: certificates.folder.appending(path: "server.pem"), options: .atomic)
        try await eventually("the failed reload is counted") { ingest.server.statistics.tls?.failures ?? 0 > 0 }
        #expect(ingest.server.statistics.tls?.problem?.contains("server.pem") == true)
        #expect(ingest.server.statistics.tls?.certificateNotAfter == before?.certificateNotAfter)
        let agent = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: certificates.agentFiles()) }
        agent.export()
        _ = try await ingest.deliveries(1)
        try await agent.stop()
    }

    @Test("a TLS handshake is closed after its deadline") func aHandshakeThatTakesTooLongIsGivenUp() async throws {
        let ingest = try await TestIngest.start {
            $0.tls = certificates.serverFiles()
            $0.limits.handshakeDeadline = .milliseconds(200)
        }
        let silent = try await TestAgent.connect(to: ingest.address)
        try await eventually("the TLS timeout is counted") { ingest.server.statistics.errors == ["tls_timeout": 1] }
        try await eventually("the connection is closed") { ingest.server.statistics.openConnections == 0 }
        try await silent.closed()
    }

    @Test("batches are acknowledged over TLS while the server shuts down")
    func encryptedBatchesAreAcknowledgedWhileTheServerShutsDown() async throws {
        let ingest = try await TestIngest.start { $0.tls = certificates.serverFiles() }
        let agent = ExporterUnderTest(to: ingest.address) { $0.tls = .init(files: certificates.agentFiles()) }
        agent.export()
        let receipt = try await ingest.deliveries(1)[0].receipt
        await ingest.server.stopAccepting(reason: "rolling")
        BatchReceipt.acknowledge([receipt])
        try await agent.acknowledged(1)
        await ingest.server.closeConnections()
        try await eventually("the connection is closed") { ingest.server.statistics.openConnections == 0 }
        try await agent.stop()
    }
}
