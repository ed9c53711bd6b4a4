// SPDX-License-Identifier: Apache-2.0

/// A problem of a document, with its place.
public struct DocumentProblem: Error, Hashable, Sendable {
    /// The file, under the name that was given to its reader.
    public let file: String
    /// The line, counted from 1; nil for a problem of the whole file, such as that it cannot be read.
    public let line: Int?
    /// The path of keys and list positions that leads to the place, such as `pods[2].addresses[0]`; positions count
    /// from 0. Empty for the top of the document and for syntax errors.
    public let key: String
    /// The problem, worded to be understood without file and place.
    public let message: String

    /// Makes a problem from its parts.
    public init(file: String, line: Int?, key: String, message: String) {
        self.file = file
        self.line = line
        self.key = key
        self.message = message
    }
}

extension DocumentProblem: CustomStringConvertible {
    /// The problem on one line: `inventory.yaml:12: pods[2].name: has no value`.
    public var description: String {
        [line.map { "\(file):\($0)" } ?? file, key, message].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}
