// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Foundation
import Logging
import TestSupport
import Testing
import TransportSecurity

@Suite struct TokenSourceTests {
    private let file = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")

    private func source(interval: Duration = .zero) -> TokenSource {
        TokenSource(
            TokenFile(file.path), interval: interval, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func write(_ text: String) throws { try Data(text.utf8).write(to: file) }

    @Test(arguments: [
        ("one", ["one"]), ("one\n", ["one"]), (" one \r\ntwo\r\n\n", ["one", "two"]), ("\n\none\n", ["one"]),
    ])
    func everyLineIsAToken(_ text: String, _ tokens: [String]) throws {
        try write(text)
        #expect(try source().tokens().map(\.secret) == tokens)
    }

    @Test(arguments: ["", "\n \n", "sécret", "a\u{0}b"])
    func aFileWithoutATokenIsAnErrorThatTellsNothingOfIt(_ text: String) throws {
        try write(text)
        let error = #expect(throws: CredentialError.self) { try source().tokens() }
        #expect(error?.description.contains(file.path) == true)
        #expect(error?.description.contains("cret") == false)
    }

    @Test func aChangedFileCountsAndABrokenOneDoesNot() throws {
        try write("one")
        let source = source()
        #expect(try source.tokens() == [BearerToken("one")])
        try write("two")
        #expect(try source.tokens() == [BearerToken("two")])
        try FileManager.default.removeItem(at: file)
        #expect(try source.tokens() == [BearerToken("two")])
    }

    @Test func aFileIsNotReadAgainBeforeItsTime() throws {
        try write("one")
        let source = source(interval: .seconds(3_600))
        #expect(try source.tokens() == [BearerToken("one")])
        try write("two")
        #expect(try source.tokens() == [BearerToken("one")])
    }
}
