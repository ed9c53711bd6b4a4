// SPDX-License-Identifier: Apache-2.0

/// One thing that is wrong with a document, and where.
public struct YAMLProblem: Error, Hashable, Sendable {
    /// The file as its reader named it.
    public let file: String
    /// The line, counted from 1; nil where the file as a whole is at fault, because it cannot be read for instance.
    public let line: Int?
    /// The path of keys and list positions that leads to the place, such as `pods[2].addresses[0]`; positions count
    /// from 0. Empty for the top of the document and for faults of syntax.
    public let key: String
    /// What is wrong, in words that need neither file nor place to be understood.
    public let message: String

    /// Makes a problem of its parts.
    public init(file: String, line: Int?, key: String, message: String) {
        self.file = file
        self.line = line
        self.key = key
        self.message = message
    }
}

extension YAMLProblem: CustomStringConvertible {
    /// The problem on one line: `inventory.yaml:12: pods[2].name: has no value`.
    public var description: String {
        [line.map { "\(file):\($0)" } ?? file, key, message].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}
