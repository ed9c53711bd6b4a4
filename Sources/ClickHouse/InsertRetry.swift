// SPDX-License-Identifier: Apache-2.0

import Retry

/// What becomes of one batch after each failed attempt: a value without clock or connection.
struct InsertRetry: Sendable {
    /// What to do next.
    enum Step: Equatable, Sendable {
        /// Ask the next endpoint at once.
        case tryNextEndpoint
        /// Ask the next endpoint after a while; with one endpoint, that one again.
        case wait(Duration, Wait)
        /// Set the batch aside for a while and send others: it is too large and may be stored already.
        case setAside(Duration, Wait)
        /// Send it in halves: every endpoint was asked, and one refuses so many bytes at once.
        case split
        /// Send it to the table and those views that take it: a view has failed for too long.
        case ignoreViews
        /// Count the batch as rejected and send it no more: ClickHouse has refused its bytes twice in the same way.
        case reject
    }

    /// What may be done about a batch.
    struct Choices: Sendable {
        /// What to do about a batch that is too large.
        enum Size: Sendable {
            case split
            /// A single row: it is rejected like other refused data.
            case reject
            /// An earlier attempt may have stored it: its halves would be stored again.
            case keep
        }

        /// Whether the batch may be rejected at all; where not, what is refused waits for an operator.
        var mayReject = true
        var size = Size.reject
        /// The time since the first failure of a view after which the batch goes without views that fail; nil where it never
        /// does, or does already.
        var viewLimit: Duration?
    }

    /// What is waited for, after every endpoint has failed.
    enum Wait: Equatable, Sendable {
        /// Somebody who mends something: every endpoint needs it.
        case forSomebody
        /// The time that an endpoint has asked for.
        case asAsked
        /// An endpoint that answers: none did.
        case forConnection
        /// Better times: ClickHouse is there.
        case forClickHouse
    }

    /// The longest wait that an endpoint may ask for.
    static let maximumAskedWait = Duration.seconds(60)

    private let endpoints: Int
    private var transient: Backoff
    private var slow: Backoff
    private var round = Round()
    private var refusal: String?
    private var viewFailures = ViewFailures()

    /// The failures since the last wait.
    private struct Round {
        var failures = 0
        var allNeedSomebody = true
        var noneAnswered = true
        var isTooLarge = false
        var hasFailingView = false
        /// The shortest wait that an endpoint has asked for.
        var asked: Duration?
    }

    /// Begins with a new batch.
    ///
    /// - Parameters:
    ///   - endpoints: How many there are; all are asked before a wait.
    ///   - transient: Waits after what passes by itself.
    ///   - slow: Waits after what somebody must mend.
    init(endpoints: Int, transient: Backoff, slow: Backoff) {
        self.endpoints = endpoints
        self.transient = transient
        self.slow = slow
    }

    /// An attempt failed.
    ///
    /// - Parameters:
    ///   - error: Why.
    ///   - choices: What may be done about the batch.
    ///   - now: When it failed.
    ///   - generator: For the jitter.
    mutating func failed(
        _ error: ClickHouseError, _ choices: Choices, at now: ContinuousClock.Instant = .now,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        if error.isOfView {
            round.hasFailingView = true
            let duration = viewFailures.record(error.failureClass, at: now)
            if let limit = choices.viewLimit, duration >= limit { return .ignoreViews }
        }
        let needsSomebody: Bool
        switch error.failureClass {
        case .transient: needsSomebody = false
        case .operator: needsSomebody = true
        case .content where error.isTooLarge && choices.size != .reject:
            round.isTooLarge = true
            needsSomebody = choices.size == .keep
        case .content:
            let isSame = refusal == error.identity
            refusal = error.identity
            if isSame && choices.mayReject { return .reject }
            needsSomebody = !choices.mayReject
        case .view: needsSomebody = choices.viewLimit == nil
        }
        round.failures += 1
        round.allNeedSomebody = round.allNeedSomebody && needsSomebody
        round.noneAnswered = round.noneAnswered && !error.isAnswered
        if let asked = error.retryAfter { round.asked = min(asked, round.asked ?? Self.maximumAskedWait) }
        guard round.failures >= endpoints else { return .tryNextEndpoint }
        defer { round = Round() }
        if !round.hasFailingView { viewFailures.pause() }
        if round.isTooLarge && choices.size == .split { return .split }
        let (wait, reason) = wait(using: &generator)
        return round.isTooLarge ? .setAside(wait, reason) : .wait(wait, reason)
    }

    private mutating func wait(using generator: inout some RandomNumberGenerator) -> (Duration, Wait) {
        let wait = round.allNeedSomebody ? slow.next(using: &generator) : transient.next(using: &generator)
        if let asked = round.asked { return (max(wait, asked), .asAsked) }
        if round.allNeedSomebody { return (wait, .forSomebody) }
        return (wait, round.noneAnswered ? .forConnection : .forClickHouse)
    }
}

extension ClickHouseError {
    /// What two refusals of the same kind have in common: their code.
    fileprivate var identity: String {
        if case .exception(let code, _) = self { "\(code)" } else { reason }
    }

    /// How long the endpoint asks to be left alone.
    fileprivate var retryAfter: Duration? {
        if case .unexpectedAnswer(_, _, _, let retryAfter) = self { retryAfter } else { nil }
    }

    /// Whether it was ClickHouse that failed, not the way there.
    fileprivate var isAnswered: Bool {
        switch self {
        case .unreachable, .unexpectedAnswer: failureClass != .transient
        default: true
        }
    }
}
