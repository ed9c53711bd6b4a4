// SPDX-License-Identifier: Apache-2.0

package import Logging
import Synchronization

/// Keeps what is wrong with the counts, and says in the log what to do where something begins to be.
public final class SelfCheck: Sendable {
    /// Something that must hold for counts to be right.
    public struct Condition: Hashable, Sendable {
        /// The condition's name in metrics and logs.
        public let name: String
        /// True where the counts are right all the same: a problem is told once as a notice, whatever its text becomes.
        public let isAdvisory: Bool

        /// Makes a condition.
        public init(_ name: String, isAdvisory: Bool = false) {
            self.name = name
            self.isAdvisory = isAdvisory
        }

        /// Some entry has counted something by the time that the agent has run long enough.
        public static let counters = Condition("counters")
    }

    /// All conditions, in the order in which they are told.
    package let conditions: [Condition]
    private let uptimeWait: Duration
    private let neverCounted: String?
    private let logger: Logger
    private let start = ContinuousClock.now
    private let problemsStorage = Mutex<[Condition: String]>([:])
    private let reportedProblems = Mutex<[Condition: String]>([:])

    /// - Parameters:
    ///   - conditions: Every condition that may be told of.
    ///   - uptimeWait: The agent's age from which on a table that has never shown a counter is a problem. A fresh agent
    ///     may find a table that its predecessor has just zeroed.
    ///   - neverCounted: The problem, and what to do about it; nil where it is not looked at.
    ///   - logger: Told when a problem appears, changes or goes.
    package init(conditions: [Condition], uptimeWait: Duration, neverCounted: String?, logger: Logger) {
        self.conditions = conditions
        self.uptimeWait = uptimeWait
        self.neverCounted = neverCounted
        self.logger = logger
    }

    /// What is wrong at the moment.
    package var problems: [Condition: String] { problemsStorage.withLock { $0 } }

    /// Checks every condition. Called at start and after every collection.
    ///
    /// - Parameters:
    ///   - readerProblems: Conditions of the reader's own that do not hold.
    ///   - entries: Entries in the last collection.
    ///   - everCounted: True once an entry has carried a counter.
    package func look(reader readerProblems: [Condition: String], entries: Int = 0, everCounted: Bool = false) {
        var problems = reportedProblems.withLock { $0 }
        problems.merge(readerProblems) { $1 }
        if let neverCounted, !everCounted, entries > 0, ContinuousClock.now - start >= uptimeWait {
            problems[.counters] = neverCounted
        }
        tell(problems)
    }

    /// Reports a condition that is checked elsewhere; it holds where `problem` is nil.
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
