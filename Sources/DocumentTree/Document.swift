// SPDX-License-Identifier: Apache-2.0

/// A document of settings, objects or credentials as a tree: mappings with textual keys, lists and scalars.
///
/// The tree comes from a file or a text, whatever its syntax; an empty document is an empty mapping.
public struct Document: Sendable {
    /// The document's origin, as problems name it.
    public let file: String
    /// The document's value.
    package let root: DocumentNode
    /// Parts of the text that the tree cannot hold.
    package let problems: [DocumentProblem]

    package init(file: String, root: DocumentNode, problems: [DocumentProblem]) {
        self.file = file
        self.root = root
        self.problems = problems
    }

    /// Reads the root mapping with `body`, and throws all problems of the document if there are any.
    ///
    /// The readers of ``DocumentMapping`` record a problem and continue with a stand-in for the value that they could not
    /// read. A result that `body` makes from stand-ins is never returned.
    public func read<Value>(_ body: (inout DocumentMapping) -> Value) throws(DocumentProblems) -> Value {
        var reader = DocumentMapping(file: file, path: "", line: root.line, entries: [])
        let value = reader.mapping(in: root, at: "", body)
        let problems = problems + reader.problems
        guard let value, problems.isEmpty else { throw DocumentProblems(problems) }
        return value
    }
}
