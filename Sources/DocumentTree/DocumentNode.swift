// SPDX-License-Identifier: Apache-2.0

/// A value of a document and the line on which it begins; nil if it does not come from a text with lines.
package struct DocumentNode: Sendable {
    /// The kinds of value. Scalars have no type of their own: the reader chooses the type.
    package enum Content: Sendable {
        /// No value: `key:`, `key: ~`, `key: null` or `key: ""`.
        case empty
        case text(String)
        case list([DocumentNode])
        case mapping([Entry])
        /// A rejected value, whose problem has been recorded already.
        case refused
    }

    /// A key of a mapping with its value.
    package struct Entry: Sendable {
        package let key: String
        package let line: Int?
        package let value: DocumentNode

        package init(key: String, line: Int?, value: DocumentNode) {
            self.key = key
            self.line = line
            self.value = value
        }
    }

    package let line: Int?
    package let content: Content

    package init(line: Int?, content: Content) {
        self.line = line
        self.content = content
    }

    package var isEmpty: Bool {
        if case .empty = content { true } else { false }
    }
}
