// SPDX-License-Identifier: Apache-2.0

import StrictYAML

/// All that is wrong with a daemon's settings.
public struct SettingsProblems: Error, Equatable, Sendable {
    /// A line for each problem: where, which value, and what is allowed. Those of the file come first, in its order.
    public let lines: [String]

    init(_ problems: [YAMLProblem]) {
        let numbered = problems.enumerated().sorted { left, right in
            (left.element.line ?? .max, left.offset) < (right.element.line ?? .max, right.offset)
        }
        lines = numbered.map(\.element.description)
    }
}

extension SettingsProblems: CustomStringConvertible {
    /// The problems, one a line.
    public var description: String { lines.joined(separator: "\n") }
}
