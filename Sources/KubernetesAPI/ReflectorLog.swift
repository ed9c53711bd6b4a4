// SPDX-License-Identifier: Apache-2.0

import Logging

/// Logs a reflector's state for operators: when it is in sync, and each kind of failure once until recovery.
struct ReflectorLog {
    private let resource: String
    private let logger: Logger
    private let start = ContinuousClock.now
    private var hasListed = false
    private var reported: (kind: ReflectorFailure, needsHelp: Bool)?
    private var reportedCredentials: [String] = []
    private var hasReportedMalformedObject = false

    init(resource: String, logger: Logger) {
        self.resource = resource
        self.logger = logger
    }

    mutating func reportList(_ objects: Int) {
        reported = nil
        if hasListed {
            logger.info("\(resource) are listed again", metadata: ["objects": "\(objects)"])
        } else {
            logger.notice(
                "\(resource) are listed and watched",
                metadata: ["objects": "\(objects)", "duration": "\(ContinuousClock.now - start)"])
        }
        hasListed = true
    }

    mutating func reportFailure(_ problem: RequestProblem, needsHelp: Bool, nextAttemptIn delay: Duration) {
        if let reported, reported == (problem.failure.kind, needsHelp) { return }
        reported = (problem.failure.kind, needsHelp)
        logger.log(
            level: needsHelp ? .error : .warning,
            hasListed
                ? "cannot watch \(resource); the last known state stays in use" : "cannot list \(resource) yet",
            metadata: [
                "error": "\(problem.message)", "kind": "\(problem.failure.kind.rawValue)",
                "next_attempt_in": "\(delay)",
            ])
    }

    mutating func reportRecovery() {
        guard reported != nil else { return }
        reported = nil
        logger.notice("\(resource) are watched again")
    }

    /// Logs credentials whose last good state stays in use; returns false if there is nothing new to report.
    mutating func reportStaleCredentials(_ problems: [String]) -> Bool {
        guard problems != reportedCredentials else { return false }
        reportedCredentials = problems
        for problem in problems {
            logger.warning(
                "cannot reload credentials; the previous ones stay in use", metadata: ["error": "\(problem)"])
        }
        return !problems.isEmpty
    }

    func reportEarlierVersion(_ version: String, known: String) {
        logger.warning(
            "\(resource) are listed again: the API server's versions have decreased, as after a restore of etcd",
            metadata: ["version": "\(version)", "known_version": "\(known)"])
    }

    func reportMissingStreamingLists(_ reason: String) {
        logger.info(
            "\(resource) are listed in pages: the API server has no streaming lists",
            metadata: ["reason": "\(reason)"])
    }

    mutating func reportMalformedObject(_ object: MalformedObject) {
        guard !hasReportedMalformedObject else { return }
        hasReportedMalformedObject = true
        logger.warning(
            "skipping an object that cannot be decoded; further ones are only counted",
            metadata: ["error": "\(object)"])
    }
}
