// SPDX-License-Identifier: Apache-2.0

/// One condition for a daemon to do its work.
public struct HealthCheck: Equatable, Sendable {
    /// A short name of the condition, such as `clickhouse`.
    public let name: String
    /// Why the condition is not met and what to do, nil where it is met.
    public let problem: String?
    /// What is wrong although the condition is met; nil where nothing is.
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

    /// The checks as JSON: `{"status":"not ready","checks":{"clickhouse":"cannot be reached"}}`; a condition that is
    /// met reads `ok`, or what is wrong all the same.
    func json(met: String, unmet: String) -> String {
        let checks = map { "\($0.name.jsonQuoted):\(($0.problem ?? $0.remark ?? "ok").jsonQuoted)" }
        return "{\"status\":\((areMet ? met : unmet).jsonQuoted),\"checks\":{\(checks.joined(separator: ","))}}\n"
    }
}
