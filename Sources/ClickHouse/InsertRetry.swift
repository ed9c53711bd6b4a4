// SPDX-License-Identifier: Apache-2.0

import Retry

/// Decides the next step after each failed attempt to send a batch: a value without clock or connection.
struct InsertRetry: Sendable {
    /// The next step.
    enum Step: Equatable, Sendable {
        /// Try the next endpoint immediately.
        case tryNextEndpoint
        /// Try the next endpoint after a delay; with one endpoint, the same one.
        case wait(Duration, Wait)
        /// Set the batch aside for a time and send others: it is too large, and may be stored already.
        case setAside(Duration, Wait)
        /// Send the batch in halves: every endpoint was tried, and one rejects the body's size.
        case split
        /// Send the batch and ignore views that fail: a view has failed for too long.
        case ignoreViews
        /// Count the batch as rejected and stop sending it: ClickHouse has rejected its bytes twice in the same way.
        case reject
    }

    /// The options for a batch.
    struct Choices: Sendable {
        /// The options for a batch that is too large.
        enum Size: Sendable {
            case split
            /// The batch is a single row and is rejected like other invalid data.
            case reject
            /// An earlier attempt may have stored the batch: its halves would be stored again.
            case keep
        }

        /// Whether the batch may be rejected at all; if not, rejected data waits for an operator.
        var mayReject = true
        var size = Size.reject
        /// The time since the first failure of a view after which the batch is sent without views that fail; nil if it
        /// never is, or is already.
        var viewLimit: Duration?
    }

    /// The reason for a wait, after every endpoint has failed.
    enum Wait: Equatable, Sendable {
        /// Every endpoint needs an operator.
        case forOperator
        /// The delay must not be shortened: an endpoint requested it, or it separates two checks of a batch.
        case asAsked
        /// No endpoint responded.
        case forConnection
        /// ClickHouse responds, but fails.
        case forClickHouse
    }

    /// The maximum delay that an endpoint may ask for.
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
        var allNeedOperator = true
        var noneAnswered = true
        var isTooLarge = false
        var hasFailingView = false
        /// The shortest delay that an endpoint has asked for.
        var asked: Duration?
    }

    /// Begins the attempts on a batch.
    ///
    /// - Parameters:
    ///   - endpoints: The number of endpoints; all are tried before a wait.
    ///   - transient: Delays after failures that pass by themselves.
    ///   - slow: Delays after failures that need an operator.
    init(endpoints: Int, transient: Backoff, slow: Backoff) {
        self.endpoints = endpoints
        self.transient = transient
        self.slow = slow
    }

    /// Records a failed attempt and returns the next step.
    ///
    /// - Parameters:
    ///   - error: The failure.
    ///   - choices: The options for the batch.
    ///   - now: The time of the failure.
    ///   - generator: The source of the jitter.
    mutating func failed(
        _ error: ClickHouseError, _ choices: Choices, at now: ContinuousClock.Instant = .now,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        if error.isOfView {
            round.hasFailingView = true
            let duration = viewFailures.record(error.failureClass, at: now)
            if let limit = choices.viewLimit, duration >= limit { return .ignoreViews }
        }
        let needsOperator: Bool
        switch error.failureClass {
        case .transient: needsOperator = false
        case .operator: needsOperator = true
        case .content where error.isTooLarge && choices.size != .reject:
            round.isTooLarge = true
            needsOperator = choices.size == .keep
        case .content:
            let isSame = refusal == error.identity
            refusal = error.identity
            if isSame && choices.mayReject { return .reject }
            needsOperator = !choices.mayReject
        case .view: needsOperator = choices.viewLimit == nil
        }
        round.failures += 1
        round.allNeedOperator = round.allNeedOperator && needsOperator
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
        let wait = round.allNeedOperator ? slow.next(using: &generator) : transient.next(using: &generator)
        if let asked = round.asked { return (max(wait, asked), .asAsked) }
        if round.allNeedOperator { return (wait, .forOperator) }
        return (wait, round.noneAnswered ? .forConnection : .forClickHouse)
    }
}

extension ClickHouseError {
    /// The property shared by two rejections of the same kind: the code.
    fileprivate var identity: String {
        if case .exception(let code, _) = self { "\(code)" } else { reason }
    }

    /// The delay that the endpoint asks for.
    fileprivate var retryAfter: Duration? {
        if case .unexpectedAnswer(_, _, _, let retryAfter) = self { retryAfter } else { nil }
    }

    /// Whether ClickHouse failed rather than the connection to it.
    fileprivate var isAnswered: Bool {
        switch self {
        case .unreachable, .unexpectedAnswer: failureClass != .transient
        default: true
        }
    }
}
