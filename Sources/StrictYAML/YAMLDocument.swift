// SPDX-License-Identifier: Apache-2.0

/// A YAML document: what a parser has made of a text.
///
/// Only the plain part of YAML is understood: mappings with textual keys, lists and scalars. Anchors, aliases and tags
/// are problems, as are duplicate keys. An empty document is an empty mapping.
public struct YAMLDocument: Sendable {
    /// What problems name as the document's origin.
    public let file: String
    /// The document's value.
    package let root: YAMLNode
    /// What is YAML, but not of the plain part.
    package let problems: [YAMLProblem]

    package init(file: String, root: YAMLNode, problems: [YAMLProblem]) {
        self.file = file
        self.root = root
        self.problems = problems
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
}
