// SPDX-License-Identifier: Apache-2.0

import DocumentTree

/// Turns a text into nodes, and records valid YAML outside the supported subset as problems.
struct Composer: ~Copyable {
    private typealias Event = YAMLEvents.Event

    /// Maximum nesting depth of lists and mappings.
    private static let deepest = 1000

    private let file: String
    private let events: YAMLEvents
    private(set) var problems: [DocumentProblem] = []

    /// Makes a composer of a text; problems name `file` as its origin.
    init(_ text: String, file: String) {
        self.file = file
        // libyaml counts a byte order mark as a column, which would misalign the first key with the next.
        events = YAMLEvents(of: String(text.unicodeScalars.trimmingPrefix(["\u{FEFF}"])), file: file)
    }

    /// Returns the root of the document; an empty mapping if there is none.
    mutating func compose() throws(DocumentProblems) -> DocumentNode {
        let nothing = DocumentNode(line: 1, content: .mapping([]))
        _ = try events.next()
        guard try events.next().kind == .documentStart else { return nothing }
        let root = try node(try events.next(), at: "", depth: 0)
        _ = try events.next()
        let end = try events.next()
        guard end.kind == .streamEnd else {
            throw DocumentProblems(
                file: file, line: end.line,
                "YAML syntax error: expected a single document in the stream, but found another document")
        }
        return root.isEmpty ? nothing : root
    }

    private mutating func node(_ event: Event, at path: String, depth: Int) throws(DocumentProblems) -> DocumentNode {
        DocumentNode(line: event.line, content: try content(of: event, at: path, depth: depth))
    }

    private mutating func content(
        of event: Event, at path: String, depth: Int
    ) throws(DocumentProblems) -> DocumentNode.Content {
        guard depth <= Self.deepest else {
            throw DocumentProblems(
                file: file, line: event.line, "YAML syntax error: values are nested more than \(Self.deepest) deep")
        }
        if let refusal = event.refusal {
            report(refusal, at: path, line: event.line)
            try skipRest(of: event)
            return .refused
        }
        switch event.kind {
        case .scalar(let text, _): return event.isNull ? .empty : .text(text)
        case .sequenceStart: return .list(try items(at: path, depth: depth + 1))
        case .mappingStart: return .mapping(try entries(at: path, depth: depth + 1))
        default: return .refused
        }
    }

    private mutating func items(at path: String, depth: Int) throws(DocumentProblems) -> [DocumentNode] {
        var items: [DocumentNode] = []
        while case let event = try events.next(), event.kind != .end {
            items.append(try node(event, at: "\(path)[\(items.count)]", depth: depth))
        }
        return items
    }

    private mutating func entries(at path: String, depth: Int) throws(DocumentProblems) -> [DocumentNode.Entry] {
        var entries: [DocumentNode.Entry] = []
        var lines: [String: Int] = [:]
        while case let event = try events.next(), event.kind != .end {
            let key = try key(event, at: path, depth: depth)
            let value = try events.next()
            guard let key, lines[key] == nil else {
                if let key, let first = lines[key] {
                    report("duplicate key \(key.quoted), first on line \(first)", at: path, line: event.line)
                }
                try skipRest(of: value)
                continue
            }
            lines[key] = event.line
            let node = try node(value, at: path.appending(key: key), depth: depth)
            entries.append(DocumentNode.Entry(key: key, line: event.line, value: node))
        }
        return entries
    }

    private mutating func key(_ event: Event, at path: String, depth: Int) throws(DocumentProblems) -> String? {
        guard event.refusal != nil || event.isText else {
            report("a key must be a single value", at: path, line: event.line)
            try skipRest(of: event)
            return nil
        }
        guard case .text(let key) = try content(of: event, at: path, depth: depth) else { return nil }
        return key
    }

    /// Skips the remaining events of a value.
    private func skipRest(of event: Event) throws(DocumentProblems) {
        var open = event.opens ? 1 : 0
        while open > 0 {
            let event = try events.next()
            open += event.opens ? 1 : event.kind == .end ? -1 : 0
        }
    }

    private mutating func report(_ message: String, at path: String, line: Int) {
        problems.append(DocumentProblem(file: file, line: line, key: path, message: message))
    }
}

extension YAMLEvents.Event {
    fileprivate var opens: Bool { kind == .sequenceStart || kind == .mappingStart }

    /// Whether this is a scalar with a value.
    fileprivate var isText: Bool {
        guard case .scalar = kind else { return false }
        return !isNull
    }

    /// Whether this is a scalar without a value: null, or the empty text.
    fileprivate var isNull: Bool {
        guard case .scalar(let text, let isPlain) = kind else { return false }
        return text.isEmpty || isPlain && ["~", "null", "Null", "NULL"].contains(text)
    }

    private static let refusedAnchor = "anchors and aliases are not supported; quote the value if it is text"

    /// The reason why this is outside the supported subset; nil if it is inside. Aliases are never followed, so that
    /// aliases of aliases cannot multiply. The name of an anchor, alias or tag is not reported, because it may be a
    /// password that begins with `!`, `&` or `*`.
    fileprivate var refusal: String? {
        if anchor != nil { return Self.refusedAnchor }
        if case .alias = kind { return Self.refusedAnchor }
        let core = ["str", "seq", "map"].map { "tag:yaml.org,2002:\($0)" }
        guard let tag, tag != "!", !core.contains(tag) else { return nil }
        return "tags are not supported; quote the value if it is text"
    }
}
