// SPDX-License-Identifier: Apache-2.0

/// A value of a document and the line on which it begins.
struct YAMLNode {
    /// The shapes of a value. Scalars have no type of their own: whoever reads one says what it has to be.
    enum Content {
        /// Nothing: `key:`, `key: ~`, `key: null` or `key: ""`.
        case empty
        case text(String)
        case list([YAMLNode])
        case mapping([Entry])
        /// A value which has been reported already.
        case refused
    }

    /// A key of a mapping with its value.
    struct Entry {
        let key: String
        let line: Int
        let value: YAMLNode
    }

    let line: Int
    let content: Content

    var isEmpty: Bool {
        if case .empty = content { true } else { false }
    }
}
