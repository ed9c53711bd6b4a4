// SPDX-License-Identifier: Apache-2.0

import DocumentTree

/// All problems of a daemon's settings.
public struct SettingsProblems: Error, Equatable, Sendable {
    /// One line for each problem: the place, the value and what is allowed. The problems of the configuration file come
    /// first, in its order.
    public let lines: [String]

    init(_ problems: [DocumentProblem]) {
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
