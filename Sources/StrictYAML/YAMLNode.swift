// SPDX-License-Identifier: Apache-2.0

/// A value of a document and the line on which it begins; nil where it is not of a text with lines.
package struct YAMLNode: Sendable {
    /// The shapes of a value. Scalars have no type of their own: whoever reads one says what it has to be.
    package enum Content: Sendable {
        /// Nothing: `key:`, `key: ~`, `key: null` or `key: ""`.
        case empty
        case text(String)
        case list([YAMLNode])
        case mapping([Entry])
        /// A value which has been reported already.
        case refused
    }

    /// A key of a mapping with its value.
    package struct Entry: Sendable {
        package let key: String
        package let line: Int?
        package let value: YAMLNode

        package init(key: String, line: Int?, value: YAMLNode) {
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
