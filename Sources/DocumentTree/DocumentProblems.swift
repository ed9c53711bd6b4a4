// SPDX-License-Identifier: Apache-2.0

/// All problems of a document.
public struct DocumentProblems: Error, Hashable, Sendable {
    /// The problems in the order of their lines; never empty.
    public let problems: [DocumentProblem]

    package init(_ problems: [DocumentProblem]) {
        self.problems = problems.sorted { ($0.line ?? 0) < ($1.line ?? 0) }
    }

    package init(file: String, line: Int? = nil, _ message: String) {
        problems = [DocumentProblem(file: file, line: line, key: "", message: message)]
    }
}

extension DocumentProblems: CustomStringConvertible {
    /// The problems, one a line.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
