// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import KubernetesAPI
import KubernetesTestKit
import Secrets
import TestSupport
import Testing

@testable import FlowIngest
import ServerCore

@Suite struct ServiceAccountAuthenticatorTests {
    private static let agents = "system:serviceaccount:kubenetmon-agent:kubenetmon-agent"

    private func start(
        _ tokens: [String] = [], now: Duration? = nil, limits: ReviewLimits = ReviewLimits()
    ) async throws -> (server: APIServerFixture, authenticator: ServiceAccountAuthenticator) {
        var options = APIServerFixture.Options()
        let account = FixtureAccount(
            username: Self.agents, audiences: ["kubenetmon-server"], podName: "agent", nodeName: "node-a")
        options.accounts = ["good": account, "old": account, "other": account, "wide": account]
        options.accounts["old"]?.nodeName = nil
        options.accounts["other"]?.username = "system:serviceaccount:default:default"
        options.accounts["wide"]?.audiences = ["https://kubernetes.default.svc"]
        for token in tokens { options.accounts[token] = account }
        let server = try await APIServerFixture.start(options)
        let reviewer = TokenReviewer(
            cluster: ClusterConfiguration(origin: "test", server: server.url), audience: "kubenetmon-server",
            now: { now ?? WallClock.now() })
        return (
            server,
            ServiceAccountAuthenticator(
                reviewer, accounts: ["kubenetmon-agent/kubenetmon-agent"], audience: "kubenetmon-server",
                limits: limits)
        )
    }

    private func claim(_ token: String?, node: String = "node-a", source: String = "10.0.0.1") -> AgentClaim {
        AgentClaim(
            hello: Hello(
                nodeName: node, agentID: .random(), softwareVersion: "test", token: token.map { BearerToken($0) }),
            source: source)
    }

    @Test("a pod of the account is admitted for its node, with one review")
    func aPodOfTheAccountIsLetInForItsNodeAndAskedForOnce() async throws {
        let (server, authenticator) = try await start()
        for _ in 0..<3 { #expect(await authenticator.examine(claim("good")) == .admitted()) }
        #expect(server.count(.tokenReview) == 1)
    }

    @Test(
        "any other token is rejected with a reason",
        arguments: [
            (nil, "node-a", "token_missing", "TOKEN_FILE"), ("good", "node-b", "token_other_node", "node-a"),
            ("old", "node-a", "token_without_node", "1.30"), ("unknown", "node-a", "token_denied", "invalid"),
            ("wide", "node-a", "token_denied", "audience"),
            ("other", "node-a", "token_other_account", "default:default"),
        ])
    func everybodyElseIsToldWhyNot(
        _ token: String?, _ node: String, _ reason: String, _ part: String
    ) async throws {
        let (server, authenticator) = try await start()
        defer { withExtendedLifetime(server) {} }
        guard case .refused(reason, let explanation) = await authenticator.examine(claim(token, node: node)) else {
            Issue.record("the claim is not rejected for \(reason)")
            return
        }
        #expect(explanation.contains(part), "\(explanation)")
    }

    @Test("a failing API server gives no verdict, and the next review admits")
    func anAPIServerThatDoesNotAnswerRefusesNobody() async throws {
        let (server, authenticator) = try await start()
        server.inject(
            .status(KubernetesStatus(code: 503, reason: "ServiceUnavailable", message: "no")), into: [.tokenReview])
        guard case .undecided("review_failed", _) = await authenticator.examine(claim("good")) else {
            Issue.record("the claim has a verdict")
            return
        }
        #expect(await authenticator.examine(claim("good")) == .admitted())
    }

    /// Many tokens from one address do not delay the reviews of other sources.
    @Test("a flood of tokens from one address does not delay another source")
    func aFloodFromOneAddressWaitsForItself() async throws {
        let (server, authenticator) = try await start()
        server.inject(.silence, into: [.tokenReview], times: 2)
        let flood = (0..<200).map { number in
            Task { await authenticator.examine(claim("bad \(number)", source: "10.0.0.66")) }
        }
        try await eventually("two reviews are in flight") { server.count(.tokenReview) == 2 }
        #expect(await authenticator.examine(claim("good")) == .admitted())
        var rejected = 0
        for task in flood {
            if case .undecided("review_queue_full", _) = await task.value { rejected += 1 }
        }
        #expect(rejected > 100)
    }

    @Test("an expired token is rejected without a review; a valid one is admitted until it expires")
    func expiry() async throws {
        let now = 1_800_000_000
        let tokens = (0..<3).map { FixtureAccount.token(expiry: now + [-61, -50, 3_600][$0], padding: "\($0)") }
        let (server, authenticator) = try await start(tokens, now: .seconds(now))
        guard case .refused("token_expired", _) = await authenticator.examine(claim(tokens[0])) else {
            Issue.record("the agent is admitted")
            return
        }
        #expect(server.count(.tokenReview) == 0)
        #expect(await authenticator.examine(claim(tokens[1])) == .admitted(lifetime: .seconds(10)))
        #expect(await authenticator.examine(claim(tokens[2])) == .admitted(lifetime: .seconds(3_660)))
        #expect(await authenticator.examine(claim(tokens[2])) == .admitted(lifetime: .seconds(3_660)))
        #expect(server.count(.tokenReview) == 2)
    }

    @Test("a wrong token is reviewed once for many concurrent connections")
    func repetition() async throws {
        var limits = ReviewLimits()
        // With this interval, a second review would come after the deadline.
        limits.interval = .seconds(10)
        let (server, authenticator) = try await start(limits: limits)
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask {
                    guard
                        case .refused("token_denied", _) = await authenticator.examine(
                            claim("wrong", source: "10.0.0.\(number)"))
                    else {
                        Issue.record("the claim is not rejected")
                        return
                    }
                }
            }
        }
        #expect(server.count(.tokenReview) == 1)
    }

    @Test("while the API server hangs, every claim ends without a verdict at its deadline, with the reason")
    func hang() async throws {
        var limits = ReviewLimits()
        limits.deadline = .seconds(3)
        let (server, authenticator) = try await start(limits: limits)
        server.inject(.silence, into: [.tokenReview], times: 4)
        await withTaskGroup(of: AgentVerdict.self) { group in
            for number in 0..<100 {
                let claim = claim("token \(number)", source: "10.0.0.\(number)")
                group.addTask { await authenticator.examine(claim) }
            }
            for await verdict in group {
                guard case .undecided("review_failed", let explanation) = verdict else {
                    Issue.record("\(verdict)")
                    continue
                }
                // A review that times out itself, after ten seconds, has another explanation.
                #expect(explanation.contains("does not respond"))
            }
        }
        // On a busy machine, the deadline passes before all four have begun.
        #expect((1...4).contains(server.count(.tokenReview)))
    }

    @Test("the claim of a closed connection is not reviewed")
    func cancellation() async throws {
        var limits = ReviewLimits()
        limits.deadline = .seconds(3_600)
        let (server, authenticator) = try await start(limits: limits)
        server.inject(.silence, into: [.tokenReview], times: 2)
        let ended = (0..<30).map { number in
            Task { await authenticator.examine(claim("bad \(number)", source: "10.0.0.66")) }
        }
        try await eventually("two reviews are in flight") { server.count(.tokenReview) == 2 }
        for task in ended { task.cancel() }
        for task in ended { _ = await task.value }
        #expect(await authenticator.examine(claim("good", source: "10.0.0.67")) == .admitted())
        // Claims that still waited would have had to be reviewed first.
        #expect(server.count(.tokenReview) == 3)
    }

    @Test("an agent is admitted within seconds among many connections with wrong tokens")
    func flood() async throws {
        let (server, authenticator) = try await start()
        let begin = ContinuousClock.now
        let flood = Task {
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<10_000 {
                    group.addTask {
                        let source = "10.0.\(number % 100).66"
                        _ = await authenticator.examine(claim("wrong \(number)", source: source))
                    }
                }
            }
        }
        try await eventually("the flood has begun") { server.count(.tokenReview) > 5 }
        #expect(await authenticator.examine(claim("good", source: "10.0.0.1")) == .admitted())
        let reviews = server.count(.tokenReview)
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        print("MEASURED admitted \(seconds) s after the flood has begun, \(reviews) reviews")
        #expect(Double(reviews) <= seconds * 50 + 5)
        flood.cancel()
    }
}
