// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A YAML document whose root is a mapping.
///
/// Only the plain part of YAML is understood: mappings with textual keys, lists and scalars. Anchors, aliases and tags
/// are problems, as are duplicate keys. An empty document is an empty mapping.
public struct YAMLDocument {
    /// The largest file that is read, in bytes.
    public static let maximumSize = 16 << 20

    private let file: String
    private let root: YAMLNode
    private let problems: [YAMLProblem]

    /// Reads a file.
    ///
    /// Throws if the file cannot be read, is larger than ``maximumSize``, is not UTF-8 or breaks YAML's syntax.
    public init(contentsOf path: String) throws(YAMLProblems) {
        guard let stream = fopen(path, "r") else { throw Self.unreadable(path) }
        defer { fclose(stream) }
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.maximumSize + 1) { buffer, count in
            count = fread(buffer.baseAddress, 1, buffer.count, stream)
        }
        guard ferror(stream) == 0 else { throw Self.unreadable(path) }
        guard bytes.count <= Self.maximumSize else {
            throw YAMLProblems(file: path, "is larger than \(Self.maximumSize >> 20) MiB")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw YAMLProblems(file: path, "is not UTF-8 text")
        }
        try self.init(text: text, file: path)
    }

    /// Reads a text; `file` is what problems name as its origin.
    ///
    /// Throws if the text breaks YAML's syntax.
    public init(text: String, file: String) throws(YAMLProblems) {
        var composer = Composer(file: file)
        root = try composer.compose(text)
        problems = composer.problems
        self.file = file
    }

    /// Reads the root mapping with `body`, and throws all problems of the document if there are any.
    ///
    /// The readers of ``YAMLMapping`` note a problem and go on, with a stand-in for the value that they could not read.
    /// What `body` makes of stand-ins never leaves this function.
    public func read<Value>(_ body: (inout YAMLMapping) -> Value) throws(YAMLProblems) -> Value {
        var reader = YAMLMapping(file: file, path: "", line: root.line, entries: [])
        let value = reader.mapping(in: root, at: "", body)
        let problems = problems + reader.problems
        guard let value, problems.isEmpty else { throw YAMLProblems(problems) }
        return value
    }

    private static func unreadable(_ path: String) -> YAMLProblems {
        YAMLProblems(file: path, "cannot be read: \(String(cString: strerror(errno)))")
    }
}
