// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Secrets
import TestSupport
import Testing

@Suite struct TokenSourceTests {
    private let file = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")

    private func source(interval: Duration = .zero) -> TokenSource {
        TokenSource(
            TokenFile(file.path), interval: interval, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func write(_ text: String) throws { try Data(text.utf8).write(to: file) }

    @Test(
        "every line of a token file is a token",
        arguments: [
            ("one", ["one"]), ("one\n", ["one"]), (" one \r\ntwo\r\n\n", ["one", "two"]), ("\n\none\n", ["one"]),
        ])
    func everyLineIsAToken(_ text: String, _ tokens: [String]) throws {
        try write(text)
        #expect(try source().tokens().map(\.secret) == tokens)
    }

    @Test(
        "a file without a valid token is an error that does not contain its content",
        arguments: ["", "\n \n", "sécret", "a\u{0}b"])
    func aFileWithoutATokenIsAnErrorThatTellsNothingOfIt(_ text: String) throws {
        try write(text)
        let error = #expect(throws: CredentialError.self) { try source().tokens() }
        #expect(error?.description.contains(file.path) == true)
        #expect(error?.description.contains("cret") == false)
    }

    @Test("a changed token file is reloaded, and a missing one leaves the previous tokens")
    func aChangedFileCountsAndABrokenOneDoesNot() throws {
        try write("one")
        let source = source()
        #expect(try source.tokens() == [BearerToken("one")])
        try write("two")
        #expect(try source.tokens() == [BearerToken("two")])
        try FileManager.default.removeItem(at: file)
        #expect(try source.tokens() == [BearerToken("two")])
    }

    @Test("a token file is not read again within the interval") func aFileIsNotReadAgainBeforeItsTime() throws {
        try write("one")
        let source = source(interval: .seconds(3_600))
        #expect(try source.tokens() == [BearerToken("one")])
        try write("two")
        #expect(try source.tokens() == [BearerToken("one")])
    }
}
