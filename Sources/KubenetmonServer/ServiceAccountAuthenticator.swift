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
        case expired = "token_expired"
        case denied = "token_denied"
        case otherAccount = "token_other_account"
        case withoutNode = "token_without_node"
        case otherNode = "token_other_node"
        case queueFull = "review_queue_full"
        case failed = "review_failed"
    }

    /// What came of a token's way to the API server.
    private enum Outcome {
        case verdict(TokenReviewer.Verdict)
        case failure(String)
        case noRoom
    }

    /// A token whose agent waits.
    private struct Claim: Sendable {
        let token: String
        let decided: CheckedContinuation<Outcome, Never>
    }

    private struct State {
        var queue: ReviewQueue<Claim>
        /// When the queue is looked at whether or not a claim comes or a review ends; nil while nothing waits for its time.
        var alarm: ContinuousClock.Instant?
    }

    private let reviewer: TokenReviewer
    private let usernames: [String]
    private let audience: String
    private let pool: NIOThreadPool
    private let state: Mutex<State>

    /// - Parameters:
    ///   - reviewer: Asks the API server.
    ///   - accounts: The accounts that agents may be of, as `NAMESPACE/NAME`.
    ///   - audience: Whom tokens are meant for, to be told to those who have none.
    ///   - limits: How often the API server is asked.
    init(_ reviewer: TokenReviewer, accounts: [String], audience: String, limits: ReviewLimits = ReviewLimits()) {
        self.reviewer = reviewer
        usernames = accounts.map { "system:serviceaccount:\($0.replacing("/", with: ":"))" }
        self.audience = audience
        state = Mutex(State(queue: ReviewQueue(limits)))
        pool = NIOThreadPool(numberOfThreads: limits.inFlight)
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
        if let lifetime = reviewer.lifetime(of: token), lifetime <= .zero {
            return .refused(
                reason: Reason.expired.rawValue,
                explanation: """
                    the agent's token has expired: the kubelet renews the file of a projected volume, which must not be \
                    mounted with subPath; or the clocks of the node and of the server differ
                    """)
        }
        if let verdict = reviewer.remembered(token) { return judge(verdict, claim) }
        switch await review(token, of: claim.source) {
        case .verdict(let verdict): return judge(verdict, claim)
        case .failure(let problem): return .undecided(reason: Reason.failed.rawValue, explanation: problem)
        case .noRoom:
            return .undecided(
                reason: Reason.queueFull.rawValue, explanation: "too many tokens wait for the API server")
        }
    }

    // MARK: - Reviews

    private func review(_ token: String, of source: String) async -> Outcome {
        await withCheckedContinuation { continuation in
            let claim = Claim(token: token, decided: continuation)
            if state.withLock({ $0.queue.add(claim, from: source) }) {
                beginReviews()
            } else {
                continuation.resume(returning: .noRoom)
            }
        }
    }

    /// Begins the reviews that are due, and comes again when the next one is.
    private func beginReviews() {
        while true {
            let now = ContinuousClock.now
            switch state.withLock({ $0.queue.next(at: now) }) {
            case .review(let claim, let source): begin(claim, of: source)
            case .wait(let moment): return setAlarm(moment)
            case .idle: return
            }
        }
    }

    private func begin(_ claim: Claim, of source: String) {
        pool.submit { [self] _ in
            // Another connection may have brought the same token meanwhile.
            let outcome = reviewer.remembered(claim.token).map { .verdict($0) } ?? ask(claim.token)
            state.withLock { $0.queue.finish(source) }
            claim.decided.resume(returning: outcome)
            beginReviews()
        }
    }

    private func ask(_ token: String) -> Outcome {
        do {
            return .verdict(try reviewer.review(token))
        } catch {
            return .failure("\(error)")
        }
    }

    private func setAlarm(_ moment: ContinuousClock.Instant) {
        let isSet = state.withLock { state in
            if let alarm = state.alarm, alarm <= moment { return false }
            state.alarm = moment
            return true
        }
        guard isSet else { return }
        Task {
            try? await Task.sleep(until: moment, clock: .continuous)
            state.withLock { if $0.alarm == moment { $0.alarm = nil } }
            beginReviews()
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
            return .admitted(lifetime: claim.hello.token.flatMap { reviewer.lifetime(of: $0.secret) })
        }
    }
}
