// SPDX-License-Identifier: Apache-2.0

import Retry

/// What becomes of one batch after each failed attempt: a value without clock or connection.
struct InsertRetry: Sendable {
    /// What to do next.
    enum Step: Equatable, Sendable {
        /// Ask the next endpoint at once.
        case tryNextEndpoint
        /// Ask the next endpoint after a while; with one endpoint, that one again.
        case wait(Duration)
        /// Give the batch up: ClickHouse has refused its bytes twice in the same way.
        case quarantine
    }

    private let endpoints: Int
    private var transient: Backoff
    private var slow: Backoff
    /// Failures since the last wait.
    private var failuresInRound = 0
    /// Whether all failures since the last wait were of those that somebody must mend.
    private var isSlowRound = true
    private var refusal: String?

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
    ///   - mayQuarantine: Whether a batch may be given up at all; where not, what is refused waits for somebody.
    ///   - generator: For the jitter.
    mutating func failed(
        _ error: ClickHouseError, mayQuarantine: Bool, using generator: inout some RandomNumberGenerator
    ) -> Step {
        if error.failureClass == .content {
            let isSame = refusal == error.identity
            refusal = error.identity
            if isSame && mayQuarantine { return .quarantine }
        }
        let isSlow = error.failureClass == .operator || (error.failureClass == .content && !mayQuarantine)
        failuresInRound += 1
        isSlowRound = isSlowRound && isSlow
        guard failuresInRound >= endpoints else { return .tryNextEndpoint }
        let wait = isSlowRound ? slow.next(using: &generator) : transient.next(using: &generator)
        failuresInRound = 0
        isSlowRound = true
        return .wait(wait)
    }
}

extension ClickHouseError {
    /// What two refusals of the same kind have in common: their code.
    fileprivate var identity: String {
        if case .exception(let code, _) = self { "\(code)" } else { reason }
    }
}
