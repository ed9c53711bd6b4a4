// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Secrets
import TestSupport
import Testing
import TransportSecurity

@Suite struct TLSContextSourceTests {
    private let folder: URL
    private var certificate: URL { folder.appending(path: "tls.crt") }
    private var key: URL { folder.appending(path: "tls.key") }

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func source(authorities: String? = nil, isServer: Bool = true) -> TLSContextSource {
        TLSContextSource(
            TLSFiles(certificate: certificate.path, key: key.path, authorities: authorities), isServer: isServer,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func install(_ certificates: TestCertificates, _ name: String = "server") throws {
        try Data(try certificates.bytes("\(name).pem")).write(to: certificate)
        try Data(try certificates.bytes("\(name).key")).write(to: key)
    }

    @Test("unchanged files give the same TLS context") func unchangedFilesGiveTheSameContext() async throws {
        try install(try await TestCertificates())
        let source = source()
        #expect(source.current == nil && source.statistics.certificateNotAfter == nil)
        let context = try source.refresh()
        #expect(try source.refresh() === context)
        #expect(source.current === context)
        #expect(source.statistics.loads == 1)
        // The certificate expires two days from now.
        let days = (source.statistics.certificateNotAfter.map(Double.init) ?? 0) - Date().timeIntervalSince1970
        #expect(abs(days - 2 * 86_400) < 86_400)
    }

    @Test("changed files give a new TLS context") func changedFilesGiveANewContext() async throws {
        try install(try await TestCertificates())
        let source = source()
        let context = try source.refresh()
        try install(try await TestCertificates())
        #expect(try source.refresh() !== context)
        #expect(source.statistics.loads == 2 && source.statistics.failures == 0)
    }

    /// The kubelet replaces the files of a Secret by swapping a link.
    @Test("a swapped symbolic link, as of a Secret, gives a new TLS context")
    func aSwappedLinkGivesANewContext() async throws {
        let certificates = try await [TestCertificates(), TestCertificates()]
        let link = folder.appending(path: "..data")
        try FileManager.default.createSymbolicLink(at: link, withDestinationURL: certificates[0].folder)
        let files = TLSFiles(
            certificate: link.appending(path: "server.pem").path, key: link.appending(path: "server.key").path)
        let source = TLSContextSource(
            files, isServer: true, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let context = try source.refresh()
        let next = folder.appending(path: "..data_tmp")
        try FileManager.default.createSymbolicLink(at: next, withDestinationURL: certificates[1].folder)
        #expect(rename(next.path, link.path) == 0)
        #expect(try source.refresh() !== context)
    }

    enum Breakage: CaseIterable { case empty, garbage, missing, anothersKey, halfWritten }

    @Test("unusable files leave the previous TLS context in use", arguments: Breakage.allCases)
    func filesThatAreOfNoUseLeaveTheContextBefore(_ breakage: Breakage) async throws {
        let certificates = try await TestCertificates()
        try install(certificates)
        let source = source()
        let context = try source.refresh()
        switch breakage {
        case .empty: try Data().write(to: certificate)
        case .garbage:
            try Data("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8).write(to: certificate)
        case .missing: try FileManager.default.removeItem(at: key)
        case .anothersKey: try Data(try certificates.bytes("client.key")).write(to: key)
        case .halfWritten: try Data(try certificates.bytes("server.pem").prefix(100)).write(to: certificate)
        }
        #expect(try source.refresh() === context)
        #expect(source.statistics.failures == 1)
        #expect(source.statistics.problem?.contains(folder.path) == true)
        try install(certificates)
        #expect(try source.refresh() === context)
        #expect(source.statistics.problem == nil)
    }

    @Test("unusable files at the start are an error that names them", arguments: [true, false])
    func withoutAContextBeforeBadFilesAreAnErrorThatNamesThem(_ isServer: Bool) throws {
        let source = source(isServer: isServer)
        let error = #expect(throws: CredentialError.self) { try source.refresh() }
        #expect(error?.description.contains(certificate.path) == true)
        #expect(source.current == nil && source.statistics.failures == 1)
    }

    @Test("an unusable file of authorities is an error that names it")
    func authoritiesThatAreNoneAreAnErrorThatNamesThem() async throws {
        try install(try await TestCertificates())
        let authorities = folder.appending(path: "ca.crt")
        try Data("not a certificate".utf8).write(to: authorities)
        let error = #expect(throws: CredentialError.self) {
            try source(authorities: authorities.path).refresh()
        }
        #expect(error?.description.contains(authorities.path) == true)
    }
}
