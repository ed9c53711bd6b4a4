// SPDX-License-Identifier: Apache-2.0

import TextFormats

/// A condition that must be met for a daemon to do its work, and whether it is.
public struct HealthCheck: Equatable, Sendable {
    /// A short name for the condition, such as `clickhouse`.
    public let name: String
    /// Why the condition is not met and what to do about it; nil if it is met.
    public let problem: String?
    /// A fault that does not prevent the condition from being met; nil if there is none.
    public let remark: String?

    /// Makes a check with its result.
    public init(_ name: String, problem: String?, remark: String? = nil) {
        self.name = name
        self.problem = problem
        self.remark = remark
    }
}

extension [HealthCheck] {
    /// Whether every condition is met.
    var areMet: Bool { allSatisfy { $0.problem == nil } }

    /// Returns the checks as JSON: `{"status":"not ready","checks":{"clickhouse":"cannot be reached"}}`. A condition
    /// that is met reads as its remark, or `ok` if it has none.
    func json(met: String, unmet: String) -> String {
        let checks = map { "\($0.name.jsonQuoted):\(($0.problem ?? $0.remark ?? "ok").jsonQuoted)" }
        return "{\"status\":\((areMet ? met : unmet).jsonQuoted),\"checks\":{\(checks.joined(separator: ","))}}\n"
    }
}
