// SPDX-License-Identifier: Apache-2.0

import FlowIngest
package import KubernetesAPI
import NIOPosix
import Synchronization

/// Admits pods of the agents' service accounts, each for the node that it runs on, according to the API server's token
/// reviews.
package final class ServiceAccountAuthenticator: AgentAuthenticator {
    /// The reason why an agent is not admitted, for counters.
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

    /// The outcome of submitting a token for review.
    private enum Outcome {
        case verdict(TokenReviewer.Verdict)
        case failure(String)
        case noRoom
    }

    /// A token whose agent waits for a decision. The first decision counts: that of a review, a deadline or the
    /// connection's end.
    private final class Claim: Sendable {
        private enum State {
            case open
            case awaited(CheckedContinuation<Outcome, Never>)
            case decided(Outcome)
        }

        let token: String
        private let state = Mutex(State.open)

        init(_ token: String) { self.token = token }

        var outcome: Outcome {
            get async {
                await withCheckedContinuation { continuation in
                    let outcome: Outcome? = state.withLock { state in
                        if case .decided(let outcome) = state { return outcome }
                        state = .awaited(continuation)
                        return nil
                    }
                    if let outcome { continuation.resume(returning: outcome) }
                }
            }
        }

        func decide(_ outcome: Outcome) {
            let continuation: CheckedContinuation<Outcome, Never>? = state.withLock { state in
                if case .decided = state { return nil }
                defer { state = .decided(outcome) }
                if case .awaited(let continuation) = state { return continuation }
                return nil
            }
            continuation?.resume(returning: outcome)
        }
    }

    private struct State {
        var queue: ReviewQueue<Claim>
        /// Wakes the queue at its next deadline or review, even if no claim arrives and no review ends; nil while
        /// nothing waits for a time.
        var alarm: (moment: ContinuousClock.Instant, task: Task<Void, Never>)?
    }

    private let reviewer: TokenReviewer
    private let usernames: [String]
    private let audience: String
    private let pool: NIOThreadPool
    private let state: Mutex<State>

    /// - Parameters:
    ///   - reviewer: Asks the API server.
    ///   - accounts: The service accounts that agents may use, as `NAMESPACE/NAME`.
    ///   - audience: The audience required in tokens, named in the message to agents that send none.
    ///   - limits: Limits on the reviews requested from the API server.
    package init(_ reviewer: TokenReviewer, accounts: [String], audience: String, limits: ReviewLimits = ReviewLimits())
    {
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
                    the agent sent no token: mount a token of its service account with the audience \(audience), and \
                    set TOKEN_FILE to its path
                    """)
        }
        if let lifetime = reviewer.lifetime(of: token), lifetime <= .zero {
            return .refused(
                reason: Reason.expired.rawValue,
                explanation: """
                    the agent's token has expired: mount it from a projected volume, which the kubelet renews, without \
                    subPath; and check that the clocks of the node and the server agree
                    """)
        }
        if let verdict = reviewer.remembered(token) { return judge(verdict, claim) }
        switch await review(token, of: claim.source) {
        case .verdict(let verdict): return judge(verdict, claim)
        case .failure(let problem): return .undecided(reason: Reason.failed.rawValue, explanation: problem)
        case .noRoom:
            return .undecided(
                reason: Reason.queueFull.rawValue, explanation: "too many tokens wait for a review by the API server")
        }
    }

    // MARK: - Reviews

    private func review(_ token: String, of source: String) async -> Outcome {
        let claim = Claim(token)
        let wasGood = reviewer.lastIdentity(of: token).map(isAgents) ?? false
        let place = state.withLock { $0.queue.add(claim, from: source, wasGood: wasGood, at: .now) }
        guard let place else { return .noRoom }
        place.displaced?.decide(.noRoom)
        // A review of the same token that ended just before this claim was added did not find it.
        if let verdict = reviewer.remembered(token) {
            state.withLock { $0.queue.remove(place.number) }
            return .verdict(verdict)
        }
        beginReviews()
        return await withTaskCancellationHandler {
            await claim.outcome
        } onCancel: {
            state.withLock { $0.queue.remove(place.number) }
            claim.decide(.failure("the agent's connection was closed"))
        }
    }

    /// Begins the reviews that are due, ends the claims past their deadline, and sets the alarm for the next step.
    private func beginReviews() {
        while true {
            let now = ContinuousClock.now
            switch state.withLock({ $0.queue.next(at: now) }) {
            case .review(let claim, let number): begin(claim, number)
            case .expire(let claim, let isUnanswered):
                claim.decide(isUnanswered ? .failure("the API server does not respond") : .noRoom)
            case .wait(let moment): return setAlarm(moment)
            case .idle: return
            }
        }
    }

    private func begin(_ claim: Claim, _ number: UInt64) {
        pool.submit { [self] _ in
            // Another connection's review may have covered the same token meanwhile.
            let outcome = reviewer.remembered(claim.token).map { .verdict($0) } ?? ask(claim.token)
            let verdict: ReviewQueue<Claim>.Verdict? =
                switch outcome {
                case .verdict(.authenticated(let identity)): isAgents(identity) ? .good : .refused
                case .verdict(.denied): .refused
                case .failure, .noRoom: nil
                }
            let repetitions: [Claim] = state.withLock { state in
                state.queue.finish(number, verdict, at: .now)
                return verdict == nil ? [] : state.queue.remove { $0.token == claim.token }
            }
            claim.decide(outcome)
            for repetition in repetitions { repetition.decide(outcome) }
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
        state.withLock { state in
            if let alarm = state.alarm, alarm.moment <= moment { return }
            state.alarm?.task.cancel()
            let task = Task {
                do { try await Task.sleep(until: moment, clock: .continuous) } catch { return }
                self.state.withLock { if $0.alarm?.moment == moment { $0.alarm = nil } }
                beginReviews()
            }
            state.alarm = (moment, task)
        }
    }

    private func isAgents(_ identity: TokenIdentity) -> Bool { usernames.contains(identity.username) }

    private func judge(_ verdict: TokenReviewer.Verdict, _ claim: AgentClaim) -> AgentVerdict {
        switch verdict {
        case .denied(let reason):
            return .refused(
                reason: Reason.denied.rawValue,
                explanation: "the API server rejected the agent's token: \(reason)")
        case .authenticated(let identity) where !isAgents(identity):
            return .refused(
                reason: Reason.otherAccount.rawValue,
                explanation: """
                    the token belongs to \(identity.username), which is not in agent_service_accounts: add it if agents \
                    use it
                    """)
        case .authenticated(let identity):
            guard let node = identity.nodeName else {
                return .refused(
                    reason: Reason.withoutNode.rawValue,
                    explanation: """
                        the API server does not name the token's node: this requires Kubernetes 1.30 or later and a \
                        token projected into the agent's pod
                        """)
            }
            guard node == claim.hello.nodeName else {
                return .refused(
                    reason: Reason.otherNode.rawValue,
                    explanation: """
                        the token belongs to a pod on node \(node), not \(claim.hello.nodeName): set NODE_NAME to \
                        spec.nodeName
                        """)
            }
            return .admitted(lifetime: claim.hello.token.flatMap { reviewer.lifetime(of: $0.secret) })
        }
    }
}
