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
        let checks = map { "\(Self.quoted($0.name)):\(Self.quoted($0.problem ?? "ok"))" }
        return "{\"status\":\(Self.quoted(areMet ? met : unmet)),\"checks\":{\(checks.joined(separator: ","))}}\n"
    }

    /// A JSON string (RFC 8259, section 7).
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
