// SPDX-License-Identifier: Apache-2.0

package import Logging
import Synchronization

/// Tracks the conditions for correct counts, and logs a problem and its remedy when one of them does not hold.
public final class SelfCheck: Sendable {
    /// A condition for correct counts.
    public struct Condition: Hashable, Sendable {
        /// The condition's name in metrics and logs.
        public let name: String
        /// Whether counts are correct even while the condition does not hold: its problem is then logged once, as a
        /// notice, even if the text changes.
        public let isAdvisory: Bool

        /// Makes a condition.
        public init(_ name: String, isAdvisory: Bool = false) {
            self.name = name
            self.isAdvisory = isAdvisory
        }

        /// An entry has counted something by the time that the agent has run for `uptimeWait`.
        public static let counters = Condition("counters")
    }

    /// All conditions, in the order in which they are logged.
    package let conditions: [Condition]
    private let uptimeWait: Duration
    private let neverCounted: String?
    private let logger: Logger
    private let start = ContinuousClock.now
    private let problemsStorage = Mutex<[Condition: String]>([:])
    private let reportedProblems = Mutex<[Condition: String]>([:])

    /// - Parameters:
    ///   - conditions: Every condition that may be reported.
    ///   - uptimeWait: The agent's age from which a table that has never shown a counter is a problem. A new agent may
    ///     find a table that its predecessor has just zeroed.
    ///   - neverCounted: The text of this problem, with its remedy; nil to skip this check.
    ///   - logger: The logger for problems that appear, change or disappear.
    package init(conditions: [Condition], uptimeWait: Duration, neverCounted: String?, logger: Logger) {
        self.conditions = conditions
        self.uptimeWait = uptimeWait
        self.neverCounted = neverCounted
        self.logger = logger
    }

    /// The conditions that currently do not hold, with their problems.
    package var problems: [Condition: String] { problemsStorage.withLock { $0 } }

    /// Checks every condition. Called at start and after every collection.
    ///
    /// - Parameters:
    ///   - readerProblems: The reader's own conditions that do not hold, with their problems.
    ///   - entries: Entries in the last collection.
    ///   - everCounted: Whether any entry has ever counted something.
    package func look(reader readerProblems: [Condition: String], entries: Int = 0, everCounted: Bool = false) {
        var problems = reportedProblems.withLock { $0 }
        problems.merge(readerProblems) { $1 }
        if let neverCounted, !everCounted, entries > 0, ContinuousClock.now - start >= uptimeWait {
            problems[.counters] = neverCounted
        }
        tell(problems)
    }

    /// Reports a condition that is checked elsewhere; it holds if `problem` is nil.
    package func report(_ condition: Condition, _ problem: String?) {
        reportedProblems.withLock { $0[condition] = problem }
        var problems = problems
        problems[condition] = problem
        tell(problems)
    }

    private func tell(_ problems: [Condition: String]) {
        let before = problemsStorage.withLock { stored in
            defer { stored = problems }
            return stored
        }
        for condition in conditions where problems[condition] != before[condition] {
            if condition.isAdvisory && (problems[condition] == nil) == (before[condition] == nil) { continue }
            if let problem = problems[condition] {
                logger.log(
                    level: condition.isAdvisory ? .notice : .error, "self-check: \(problem)",
                    metadata: ["check": "\(condition.name)"])
            } else {
                logger.notice("self-check passed again", metadata: ["check": "\(condition.name)"])
            }
        }
    }
}
