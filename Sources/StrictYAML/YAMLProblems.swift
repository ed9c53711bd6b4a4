// SPDX-License-Identifier: Apache-2.0

/// All problems of a document.
public struct YAMLProblems: Error, Hashable, Sendable {
    /// The problems in the order of their lines; never empty.
    public let problems: [YAMLProblem]

    package init(_ problems: [YAMLProblem]) {
        self.problems = problems.sorted { ($0.line ?? 0) < ($1.line ?? 0) }
    }

    package init(file: String, line: Int? = nil, _ message: String) {
        problems = [YAMLProblem(file: file, line: line, key: "", message: message)]
    }
}

extension YAMLProblems: CustomStringConvertible {
    /// The problems, one a line.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
