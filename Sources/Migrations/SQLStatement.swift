// SPDX-License-Identifier: Apache-2.0

/// A statement of a SQL script, without comments.
struct SQLStatement: Equatable, Sendable {
    /// A part of a statement. All tokens in turn are its text.
    enum Token: Equatable, Sendable {
        /// A keyword, a number or a name without quotes.
        case word(String)
        /// A name in backquotes, as written between them.
        case quotedName(String)
        /// A literal in single quotes, as written between them.
        case literal(String)
        /// White space, punctuation or an operator: one character.
        case other(Character)

        var text: String {
            switch self {
            case .word(let text): text
            case .quotedName(let text): "`\(text)`"
            case .literal(let text): "'\(text)'"
            case .other(let character): String(character)
            }
        }
    }

    var tokens: [Token]

    var text: String { tokens.map(\.text).joined() }

    /// The names, keywords and numbers, in their order.
    var words: [String] {
        tokens.compactMap { token in
            switch token {
            case .word(let text), .quotedName(let text): text
            case .literal, .other: nil
            }
        }
    }

    /// Splits a script at its semicolons.
    static func statements(of script: String) -> [SQLStatement] {
        var (statements, tokens): ([SQLStatement], [Token]) = ([], [])
        var rest = script[...]
        while let character = rest.first {
            if rest.hasPrefix("--") {
                rest = rest.drop { !$0.isNewline }
            } else if rest.hasPrefix("/*") {
                rest = rest.firstRange(of: "*/").map { rest[$0.upperBound...] } ?? ""
            } else if character == ";" {
                rest.removeFirst()
                statements.append(SQLStatement(tokens: tokens))
                tokens = []
            } else {
                tokens.append(nextToken(&rest))
            }
        }
        statements.append(SQLStatement(tokens: tokens))
        return statements.map(\.trimmed).filter { !$0.tokens.isEmpty }
    }

    private static func nextToken(_ rest: inout Substring) -> Token {
        let isPartOfWord = { (character: Character) in character.isLetter || character.isNumber || character == "_" }
        guard let first = rest.first, !isPartOfWord(first) else {
            let word = rest.prefix(while: isPartOfWord)
            rest = rest[word.endIndex...]
            return .word(String(word))
        }
        rest.removeFirst()
        guard first == "'" || first == "`" else { return .other(first) }
        let text = quotedText(&rest, until: first)
        return first == "'" ? .literal(text) : .quotedName(text)
    }

    /// Removes the text up to a quotation mark, which a backslash or a second mark escapes, and the mark.
    private static func quotedText(_ rest: inout Substring, until mark: Character) -> String {
        var text = ""
        while let character = rest.popFirst() {
            if character == mark, rest.first != mark { break }
            text.append(character)
            if character == mark || character == "\\", let escaped = rest.popFirst() { text.append(escaped) }
        }
        return text
    }

    private var trimmed: SQLStatement {
        let isSpace = { (token: Token) in
            if case .other(let character) = token { character.isWhitespace } else { false }
        }
        let start = tokens.drop(while: isSpace)
        return SQLStatement(
            tokens: Array(start.prefix(start.lastIndex { !isSpace($0) }.map { $0 - start.startIndex + 1 } ?? 0)))
    }
}
