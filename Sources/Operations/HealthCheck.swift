// SPDX-License-Identifier: Apache-2.0

/// One condition for a daemon to do its work.
public struct HealthCheck: Equatable, Sendable {
    /// A short name of the condition, such as `clickhouse`.
    public let name: String
    /// Why the condition is not met and what to do, nil where it is met.
    public let problem: String?

    /// Makes a check with its result.
    public init(_ name: String, problem: String?) {
        self.name = name
        self.problem = problem
    }
}

extension [HealthCheck] {
    /// Whether every condition is met.
    var areMet: Bool { allSatisfy { $0.problem == nil } }

    /// The checks as JSON: `{"status":"not ready","checks":{"clickhouse":"cannot be reached"}}`; a condition that is
    /// met reads `ok`.
    func json(met: String, unmet: String) -> String {
        let checks = map { "\($0.name.jsonQuoted):\(($0.problem ?? "ok").jsonQuoted)" }
        return "{\"status\":\((areMet ? met : unmet).jsonQuoted),\"checks\":{\(checks.joined(separator: ","))}}\n"
    }
}
