// SPDX-License-Identifier: Apache-2.0

/// A parsed YAML document.
///
/// Only a subset of YAML is supported: mappings with textual keys, lists and scalars. Anchors, aliases and tags are
/// problems, as are duplicate keys. An empty document is an empty mapping.
public struct YAMLDocument: Sendable {
    /// The document's origin, as problems name it.
    public let file: String
    /// The document's value.
    package let root: YAMLNode
    /// Valid YAML outside the supported subset.
    package let problems: [YAMLProblem]

    package init(file: String, root: YAMLNode, problems: [YAMLProblem]) {
        self.file = file
        self.root = root
        self.problems = problems
    }

    /// Reads the root mapping with `body`, and throws all problems of the document if there are any.
    ///
    /// The readers of ``YAMLMapping`` record a problem and continue with a stand-in for the value that they could not
    /// read. A result that `body` makes from stand-ins is never returned.
    public func read<Value>(_ body: (inout YAMLMapping) -> Value) throws(YAMLProblems) -> Value {
        var reader = YAMLMapping(file: file, path: "", line: root.line, entries: [])
        let value = reader.mapping(in: root, at: "", body)
        let problems = problems + reader.problems
        guard let value, problems.isEmpty else { throw YAMLProblems(problems) }
        return value
    }
}
