// SPDX-License-Identifier: Apache-2.0

import Yams

/// A way around Yams' refusal of duplicate keys, which stops at the first mapping that has some and names no key path.
///
/// The refused key is told apart by marks in the text, and the text is parsed again. The mark is a character of
/// private use. Whoever reads the parsed keys takes the marks off and sees the duplicates.
enum DuplicateKeys {
    private static let mark: Unicode.Scalar = "\u{E000}"

    /// How often a text is parsed again at most.
    private static let limit = 32

    /// The parser of `text` and its root; no root if the text is empty.
    static func parse(_ text: String, round: Int = 1) throws -> (Parser, Node?) {
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            return (parser, try parser.singleRoot())
        } catch let error as YamlError {
            guard case .duplicatedKeysInMapping(let keys, let context) = error, let key = keys.first, round <= limit,
                let place = text.place(of: key, at: context.mark)
            else { throw error }
            var text = text
            text.unicodeScalars.insert(contentsOf: repeatElement(mark, count: round), at: place)
            return try parse(text, round: round + 1)
        }
    }

    /// The key as it stands in the file.
    static func unmark(_ key: String) -> String {
        String(key.unicodeScalars.drop { $0 == mark })
    }
}

extension String {
    /// Where the characters of `key` begin, past the quote if there is one; nil if they are written as escapes or come
    /// after a tag.
    fileprivate func place(of key: String, at mark: Mark) -> Index? {
        var rest = unicodeScalars[...]
        for _ in 1..<mark.line {
            rest = rest.drop { $0 != "\n" }.dropFirst()
        }
        rest = rest.dropFirst(mark.column - 1)
        if let first = rest.first, ["'", "\""].contains(first) { rest = rest.dropFirst() }
        return rest.starts(with: key.unicodeScalars) ? rest.startIndex : nil
    }
}
