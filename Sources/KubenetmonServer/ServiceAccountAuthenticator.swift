// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import Kubernetes
import NIOPosix
import Synchronization

/// Lets in the pods of the agents' service account, each for the node that it runs on: the API server says whose a token is.
final class ServiceAccountAuthenticator: AgentAuthenticator {
    /// Why an agent is not let in, for counters.
    enum Reason: String, CaseIterable {
        case missing = "token_missing"
        case denied = "token_denied"
        case otherAccount = "token_other_account"
        case withoutNode = "token_without_node"
        case otherNode = "token_other_node"
        case queueFull = "review_queue_full"
        case failed = "review_failed"
    }

    /// Questions to the API server at the same time; one takes a few milliseconds as a rule.
    private static let threads = 4
    /// Agents that may wait for their question: as many as a cluster has when a server starts.
    private static let maximumWaiting = 4_096
    /// Those among them from one address.
    private static let maximumWaitingPerSource = 8

    private let reviewer: TokenReviewer
    private let usernames: [String]
    private let audience: String
    private let pool = NIOThreadPool(numberOfThreads: threads)
    private let waiting = Mutex<[String: Int]>([:])

    /// - Parameters:
    ///   - reviewer: Asks the API server.
    ///   - accounts: The accounts that agents may be of, as `NAMESPACE/NAME`.
    ///   - audience: Whom tokens are meant for, to be told to those who have none.
    init(_ reviewer: TokenReviewer, accounts: [String], audience: String) {
        self.reviewer = reviewer
        usernames = accounts.map { "system:serviceaccount:\($0.replacing("/", with: ":"))" }
        self.audience = audience
        pool.start()
    }

    func examine(_ claim: AgentClaim) async -> AgentVerdict {
        guard let token = claim.hello.token?.secret else {
            return .refused(
                reason: Reason.missing.rawValue,
                explanation: """
                    the agent sends no token: mount one of its service account with the audience \(audience) and name the \
                    file in TOKEN_FILE
                    """)
        }
        if let verdict = reviewer.remembered(token) { return judge(verdict, claim) }
        guard enqueue(claim.source) else {
            return .undecided(
                reason: Reason.queueFull.rawValue, explanation: "too many tokens wait for the API server")
        }
        defer { dequeue(claim.source) }
        do {
            return judge(try await pool.runIfActive { try self.reviewer.review(token) }, claim)
        } catch {
            return .undecided(reason: Reason.failed.rawValue, explanation: "\(error)")
        }
    }

    private func judge(_ verdict: TokenReviewer.Verdict, _ claim: AgentClaim) -> AgentVerdict {
        switch verdict {
        case .denied(let reason):
            return .refused(
                reason: Reason.denied.rawValue,
                explanation: "the API server does not take the agent's token: \(reason)")
        case .authenticated(let identity) where !usernames.contains(identity.username):
            return .refused(
                reason: Reason.otherAccount.rawValue,
                explanation: """
                    the token is of \(identity.username), which is none of agent_service_accounts: add it if it is an agent's
                    """)
        case .authenticated(let identity):
            guard let node = identity.nodeName else {
                return .refused(
                    reason: Reason.withoutNode.rawValue,
                    explanation: """
                        the API server does not say which node the token is of: that takes Kubernetes 1.30 and a token that \
                        is projected into the agent's pod
                        """)
            }
            guard node == claim.hello.nodeName else {
                return .refused(
                    reason: Reason.otherNode.rawValue,
                    explanation: """
                        the token is of a pod on the node \(node), not \(claim.hello.nodeName): NODE_NAME must be \
                        spec.nodeName
                        """)
            }
            return .admitted
        }
    }

    private func enqueue(_ source: String) -> Bool {
        waiting.withLock { waiting in
            guard waiting.values.reduce(0, +) < Self.maximumWaiting,
                waiting[source, default: 0] < Self.maximumWaitingPerSource
            else { return false }
            waiting[source, default: 0] += 1
            return true
        }
    }

    private func dequeue(_ source: String) {
        waiting.withLock { waiting in
            waiting[source, default: 0] -= 1
            if waiting[source] == 0 { waiting[source] = nil }
        }
    }
}
