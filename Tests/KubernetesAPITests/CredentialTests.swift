// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import KubernetesAPI

@Suite struct CredentialTests {
    private let start = ContinuousClock.now

    private func text(_ credential: Credential) -> String? {
        credential.bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("a credential's file is read again after a minute") func aFileIsReadAgainAfterAMinute() throws {
        let folder = try TemporaryFolder()
        var credential = Credential(.file(try folder.write("one", to: "token")))
        #expect(text(credential) == nil)
        credential.refresh(now: start)
        #expect(text(credential) == "one")
        try folder.write("two", to: "token")
        credential.refresh(now: start + .seconds(59))
        #expect(text(credential) == "one")
        credential.refresh(now: start + .seconds(60))
        #expect(text(credential) == "two")
    }

    @Test("an expired credential is read again at once") func whatWasRefusedIsReadAtOnce() throws {
        let folder = try TemporaryFolder()
        var credential = Credential(.file(try folder.write("one", to: "token")))
        credential.refresh(now: start)
        try folder.write("two", to: "token")
        credential.expire()
        credential.refresh(now: start)
        #expect(text(credential) == "two")
    }

    @Test("an empty or missing file leaves the last good credential in use", arguments: [nil, "", " \n"])
    func theLastGoodOneIsKept(content: String?) throws {
        let folder = try TemporaryFolder()
        var credential = Credential(.file(try folder.write("one", to: "token")))
        credential.refresh(now: start)
        #expect(credential.problem == nil)
        if let content { try folder.write(content, to: "token") } else { try folder.remove("token") }
        credential.refresh(now: start + .seconds(60))
        #expect(text(credential) == "one")
        #expect(credential.problem?.contains("\(folder.path)/token") == true)
        try folder.write("two", to: "token")
        credential.refresh(now: start + .seconds(120))
        #expect(text(credential) == "two")
        #expect(credential.problem == nil)
    }

    @Test("a credential given as bytes never changes") func bytesStayAsTheyAre() {
        var credential = Credential(.bytes([1, 2]))
        credential.expire()
        credential.refresh(now: start)
        #expect(credential.bytes == [1, 2])
        #expect(credential.problem == nil)
    }
}
