// SPDX-License-Identifier: Apache-2.0

import Foundation
import KubernetesTestKit
import TestSupport
import Testing

@testable import KubernetesAPI

@Suite struct TokenReviewerTests {
    private static let account = FixtureAccount(
        username: "system:serviceaccount:kubenetmon-agent:kubenetmon-agent", audiences: ["kubenetmon"],
        podName: "kubenetmon-agent-x7k2p", nodeName: "node-a")

    private func start(_ configure: (inout APIServerFixture.Options) -> Void = { _ in }) async throws
        -> APIServerFixture
    {
        var options = APIServerFixture.Options()
        options.tokens = ["the-servers-own"]
        options.accounts = ["good": Self.account]
        configure(&options)
        return try await APIServerFixture.start(options)
    }

    private func reviewer(
        _ server: APIServerFixture, audience: String = "kubenetmon", token: String = "the-servers-own"
    )
        -> TokenReviewer
    {
        TokenReviewer(
            cluster: ClusterConfiguration(origin: "test", server: server.url, token: .bytes(Array(token.utf8))),
            audience: audience)
    }

    @Test("a review returns the account, pod and node of a token")
    func aGoodTokenTellsItsAccountPodAndNode() async throws {
        let server = try await start { $0.tokens = ["own"] }
        let reviewer = reviewer(server, token: "own\n")
        #expect(reviewer.remembered("good") == nil)
        let verdict = TokenReviewer.Verdict.authenticated(
            TokenIdentity(
                username: Self.account.username, podName: "kubenetmon-agent-x7k2p", nodeName: "node-a"))
        #expect(try reviewer.review("good") == verdict)
        #expect(reviewer.remembered("good") == verdict)
        #expect(server.requests.map(\.kind) == [.tokenReview])
        #expect(server.requests[0].parameters.isEmpty)
    }

    @Test("a token of the server's own that was rejected is read again")
    func rejectedCredential() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try "one".write(to: file, atomically: true, encoding: .utf8)
        let server = try await start { $0.tokens = ["one"] }
        let reviewer = TokenReviewer(
            cluster: ClusterConfiguration(origin: "test", server: server.url, token: .file(file.path)),
            audience: "kubenetmon")
        _ = try reviewer.review("good")
        server.update { $0.tokens = ["two"] }
        try "two".write(to: file, atomically: true, encoding: .utf8)
        _ = try reviewer.review("good")
        #expect(server.requests.map(\.token) == ["one", "one", "two"])
    }

    @Test("a review by an old API server returns no node")
    func aServerBeforeThatToldNodesLeavesThemOut() async throws {
        let server = try await start {
            $0.tokens = nil
            $0.accounts["good"]?.nodeName = nil
        }
        guard case .authenticated(let identity) = try reviewer(server).review("good") else {
            Issue.record("the token is not authenticated")
            return
        }
        #expect(identity.nodeName == nil && identity.podName == "kubenetmon-agent-x7k2p")
    }

    @Test(
        "an unknown token, or one for another audience, is denied",
        arguments: [("unknown", "kubenetmon"), ("good", "somebody-else"), ("", "kubenetmon")])
    func aTokenThatIsUnknownOrMeantForOthersIsDenied(_ token: String, _ audience: String) async throws {
        let server = try await start { $0.tokens = nil }
        let reviewer = reviewer(server, audience: audience)
        let verdict = try reviewer.review(token)
        guard case .denied(let reason) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(reason.contains("audience"))
        #expect(reviewer.remembered(token) == verdict)
    }

    @Test("an error of the API server does not replace a cached verdict")
    func anErrorOfTheAPIServersTakesNothingBackThatItSaid() async throws {
        let server = try await start { $0.tokens = nil }
        let reviewer = reviewer(server)
        let verdict = try reviewer.review("good")
        let answer = """
            {"kind": "TokenReview", "status": {"authenticated": false, "error": "etcdserver: request timed out"}}
            """
        func inject() { server.inject(.bytes(Array(answer.utf8)), into: [.tokenReview]) }
        inject()
        let error = #expect(throws: TokenReviewFailure.self) { try reviewer.review("good") }
        #expect(error?.description.contains("etcdserver") == true)
        #expect(reviewer.remembered("good") == verdict)
        inject()
        #expect(try reviewer.review("never seen") == .denied("etcdserver: request timed out"))
    }

    /// The response of a server that does not check audiences.
    @Test("a response without the audience is a denial") func anAnswerWithoutTheAudienceIsADenial() {
        let answer = """
            {"kind": "TokenReview", "status": {"authenticated": true, "user": {"username": "system:admin"}}}
            """
        guard case .denied = TokenReview.answer(in: Array(answer.utf8), audience: "kubenetmon")?.verdict
        else {
            Issue.record("the token is authenticated")
            return
        }
    }

    @Test("a response that is not a TokenReview gives no verdict") func whatIsNoReviewIsNoAnswer() {
        for answer in ["", "{}", "[]", "null", #"{"kind": "Status", "status": "Failure"}"#, "<html>"] {
            #expect(TokenReview.answer(in: Array(answer.utf8), audience: "kubenetmon") == nil)
        }
    }

    @Test(
        "a failed review gives no verdict",
        arguments: [
            FixtureFault.status(KubernetesStatus(code: 403, reason: "Forbidden", message: "no")),
            .status(KubernetesStatus(code: 500, reason: "InternalError", message: "etcd")),
            .status(KubernetesStatus(code: 429, reason: "TooManyRequests", message: "later")),
            .bytes(Array("<html>".utf8)), .nothing, .cut(afterBytes: 10),
        ])
    func aServerThatDoesNotAnswerHasDeniedNothing(_ fault: FixtureFault) async throws {
        let server = try await start { $0.tokens = nil }
        server.inject(fault, into: [.tokenReview])
        let reviewer = reviewer(server)
        let error = #expect(throws: TokenReviewFailure.self) { try reviewer.review("good") }
        if case .status(let status) = fault, status.code == 403 {
            #expect(error?.description.contains("create on tokenreviews") == true)
        }
        #expect(reviewer.remembered("good") == nil)
        guard case .authenticated = try reviewer.review("good") else {
            Issue.record("the token is not authenticated")
            return
        }
    }

    @Test("a rejection of the server's own token is not a denial")
    func aRefusalOfTheServersOwnTokenIsNoDenial() async throws {
        let server = try await start { $0.tokens = ["another"] }
        let reviewer = reviewer(server, token: "old")
        let error = #expect(throws: TokenReviewFailure.self) { try reviewer.review("good") }
        #expect(error?.description.contains("401") == true)
    }
}
