// SPDX-License-Identifier: Apache-2.0

public import DocumentTree
import LocalFiles

extension Document {
    /// The maximum size of a file, in bytes.
    package static let maximumSize = 16 << 20

    /// Reads a file; with `acceptsStreams`, also a pipe or a terminal, to its end. Only a subset of YAML is supported:
    /// mappings with textual keys, lists and scalars. Anchors, aliases and tags are problems, as are duplicate keys.
    ///
    /// Throws if the file cannot be read, is larger than ``maximumSize``, is not UTF-8 or breaks YAML's syntax.
    public init(contentsOf path: String, acceptsStreams: Bool = false) throws(DocumentProblems) {
        let bytes: [UInt8]
        do throws(LocalFile.Failure) {
            bytes = try LocalFile.bytes(of: path, maximumBytes: Self.maximumSize, acceptsStreams: acceptsStreams)
        } catch {
            throw DocumentProblems(file: path, "cannot be read: \(error.reason)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DocumentProblems(file: path, "is not UTF-8 text")
        }
        try self.init(text: text, file: path)
    }

    /// Reads a text in the same subset of YAML; problems name `file` as its origin.
    ///
    /// Throws if the text breaks YAML's syntax.
    public init(text: String, file: String) throws(DocumentProblems) {
        var composer = Composer(text, file: file)
        let root = try composer.compose()
        self.init(file: file, root: root, problems: composer.problems)
    }
}
