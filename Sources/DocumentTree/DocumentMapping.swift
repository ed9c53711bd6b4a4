// SPDX-License-Identifier: Apache-2.0

/// Reads the keys of a mapping.
///
/// Every reader that finds a problem records it and returns a stand-in, so that one pass finds all problems. Keys that
/// are not read are problems too. A key without a value (`key:`, `key: null`, `key: ""`) counts as absent if it is
/// optional, and is a problem otherwise.
///
/// Scalars are read verbatim, quoted or not: `version: 1.10` read as a string is "1.10".
public struct DocumentMapping {
    private let file: String
    private let path: String
    private let line: Int?
    private let entries: [DocumentNode.Entry]
    private var knownKeys: [String] = []
    package private(set) var problems: [DocumentProblem] = []

    package init(file: String, path: String, line: Int?, entries: [DocumentNode.Entry]) {
        self.file = file
        self.path = path
        self.line = line
        self.entries = entries
    }

    // MARK: Scalars

    /// Reads the text of `key`; required if there is no default. The stand-in is the empty text.
    public mutating func string(_ key: String, default: String? = nil) -> String {
        value(key, required: `default` == nil) { $0 } ?? `default` ?? ""
    }

    /// Reads the Boolean of `key` in one of Go's spellings (``Swift/Bool/init(goBool:)``). Required if there is no
    /// default. The stand-in is false.
    public mutating func bool(_ key: String, default: Bool? = nil) -> Bool {
        value(key, required: `default` == nil, as: "true or false", Bool.init(goBool:)) ?? `default` ?? false
    }

    /// Reads the whole number of `key`, in decimal digits and within `range`. Required if there is no default. The
    /// stand-in is the lower bound.
    public mutating func integer(_ key: String, in range: ClosedRange<Int>, default: Int? = nil) -> Int {
        let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        return value(key, required: `default` == nil, as: expected) { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        } ?? `default` ?? range.lowerBound
    }

    /// Reads the text of `key` with `parse`; nil if an optional key is absent, or after a problem.
    ///
    /// If `parse` returns nil, the problem ends in `expected`: "'7 parsecs' is not a Go duration such as 5s".
    public mutating func value<Value>(
        _ key: String, required: Bool = true, as expected: String, _ parse: (String) -> Value?
    ) -> Value? {
        value(key, required: required) { text throws(BadValue) in
            guard let value = parse(text) else { throw BadValue("is not \(expected)") }
            return value
        }
    }

    /// Reads the text of `key` with `parse`; nil if an optional key is absent, or after a problem.
    public mutating func value<Value>(
        _ key: String, required: Bool = true, _ parse: (String) throws(BadValue) -> Value
    ) -> Value? {
        node(of: key, required: required).flatMap { scalar(in: $0, at: path.appending(key: key), parse) }
    }

    // MARK: Lists and mappings

    /// Reads the texts in the list of `key` with `parse`; empty if an optional key is absent. Items with a problem are
    /// left out.
    public mutating func values<Value>(
        _ key: String, required: Bool = true, _ parse: (String) throws(BadValue) -> Value
    ) -> [Value] {
        items(of: key, required: required) { reader, item, path in reader.scalar(in: item, at: path, parse) }
    }

    /// Reads the mappings in the list of `key` with `body`; empty if an optional key is absent. Items that are not
    /// mappings are left out.
    public mutating func list<Value>(
        _ key: String, required: Bool = true, _ body: (inout DocumentMapping) -> Value
    ) -> [Value] {
        items(of: key, required: required) { reader, item, path in reader.mapping(in: item, at: path, body) }
    }

    /// Reads the mapping of `key` with `body`; nil if an optional key is absent, or if its value is not a mapping.
    public mutating func mapping<Value>(
        _ key: String, required: Bool = true, _ body: (inout DocumentMapping) -> Value
    ) -> Value? {
        node(of: key, required: required).flatMap { mapping(in: $0, at: path.appending(key: key), body) }
    }

    /// Reads the texts of a mapping whose keys are free, such as labels; empty if `key` is absent.
    public mutating func texts(_ key: String) -> [String: String] {
        guard let node = node(of: key, required: false) else { return [:] }
        let path = path.appending(key: key)
        guard case .mapping(let entries) = node.content else {
            return refuse(node, at: path, expected: "a mapping") ?? [:]
        }
        var texts: [String: String] = [:]
        for entry in entries {
            texts[entry.key] = scalar(in: entry.value, at: path.appending(key: entry.key)) { $0 }
        }
        return texts
    }

    // MARK: Nodes

    mutating func mapping<Value>(
        in node: DocumentNode, at path: String, _ body: (inout DocumentMapping) -> Value
    ) -> Value? {
        guard case .mapping(let entries) = node.content else { return refuse(node, at: path, expected: "a mapping") }
        var mapping = DocumentMapping(file: file, path: path, line: node.line, entries: entries)
        let value = body(&mapping)
        mapping.reportUnknownKeys()
        problems += mapping.problems
        return value
    }

    private mutating func items<Value>(
        of key: String, required: Bool, _ read: (inout DocumentMapping, DocumentNode, String) -> Value?
    ) -> [Value] {
        guard let node = node(of: key, required: required) else { return [] }
        let path = path.appending(key: key)
        guard case .list(let items) = node.content else { return refuse(node, at: path, expected: "a list") ?? [] }
        return items.enumerated().compactMap { index, item in read(&self, item, "\(path)[\(index)]") }
    }

    private mutating func scalar<Value>(
        in node: DocumentNode, at path: String, _ parse: (String) throws(BadValue) -> Value
    ) -> Value? {
        guard case .text(let text) = node.content else { return refuse(node, at: path, expected: "a single value") }
        do {
            return try parse(text)
        } catch {
            report("\(text.quoted) \(error.reason)", at: path, line: node.line)
            return nil
        }
    }

    private mutating func node(of key: String, required: Bool) -> DocumentNode? {
        knownKeys.append(key)
        guard let node = entries.first(where: { $0.key == key })?.value else {
            if required { report("missing key '\(key)'", at: path, line: line) }
            return nil
        }
        return node.isEmpty && !required ? nil : node
    }

    // MARK: Problems

    private mutating func refuse<Value>(_ node: DocumentNode, at path: String, expected: String) -> Value? {
        switch node.content {
        case .empty: report("has no value", at: path, line: node.line)
        case .text: report("expected \(expected), found a single value", at: path, line: node.line)
        case .list: report("expected \(expected), found a list", at: path, line: node.line)
        case .mapping: report("expected \(expected), found a mapping", at: path, line: node.line)
        case .refused: break
        }
        return nil
    }

    private mutating func reportUnknownKeys() {
        for entry in entries where !knownKeys.contains(entry.key) {
            let advice =
                entry.key.nearest(among: knownKeys).map { "did you mean '\($0)'?" }
                ?? "the keys here are \(knownKeys.joined(separator: ", "))"
            report("unknown key \(entry.key.quoted); \(advice)", at: path, line: entry.line)
        }
    }

    /// Records a problem of the mapping as a whole.
    public mutating func report(_ message: String) { report(message, at: path, line: line) }

    private mutating func report(_ message: String, at path: String, line: Int?) {
        problems.append(DocumentProblem(file: file, line: line, key: path, message: message))
    }
}
