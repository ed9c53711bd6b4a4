// SPDX-License-Identifier: Apache-2.0

import StrictYAML
import Yams

/// Turns a text into nodes, and notes what is YAML but not of the plain part that this module reads.
struct Composer {
    let file: String
    private(set) var problems: [YAMLProblem] = []

    init(file: String) {
        self.file = file
    }

    /// The root of the document; an empty mapping if there is none.
    mutating func compose(_ text: String) throws(YAMLProblems) -> YAMLNode {
        // libyaml counts a byte order mark as a column, which puts the first key out of line with the next.
        let text = String(text.unicodeScalars.trimmingPrefix(["\u{FEFF}"]))
        guard !text.mayHoldAliasBomb else {
            throw YAMLProblems(file: file, "anchors and aliases are not supported")
        }
        do {
            // Nodes hold their anchors weakly, the parser owns them.
            let (parser, root) = try DuplicateKeys.parse(text)
            return withExtendedLifetime(parser) {
                guard let root = root.map({ node($0, at: "") }), !root.isEmpty else {
                    return YAMLNode(line: 1, content: .mapping([]))
                }
                return root
            }
        } catch {
            throw YAMLProblems(file: file, syntaxError: error, in: text)
        }
    }

    private mutating func node(_ node: Yams.Node, at path: String) -> YAMLNode {
        YAMLNode(line: node.line, content: content(of: node, at: path))
    }

    private mutating func content(of node: Yams.Node, at path: String) -> YAMLNode.Content {
        // Not to descend here is what keeps nested aliases from multiplying.
        if let anchor = node.anchor {
            report("anchors (&\(anchor)) and aliases (*\(anchor)) are not supported", at: path, node)
            return .refused
        }
        guard [.str, .seq, .map].contains(Tag.Name(rawValue: node.tag.rawValue)) else {
            report("tags (\(node.tag.rawValue.quoted)) are not supported", at: path, node)
            return .refused
        }
        switch node {
        case .scalar(let scalar):
            return scalar.isEmpty ? .empty : .text(scalar.string)
        case .sequence(let items):
            return .list(items.enumerated().map { self.node($1, at: "\(path)[\($0)]") })
        case .mapping(let pairs):
            return .mapping(entries(of: pairs, at: path))
        case .alias:
            return .refused
        }
    }

    private mutating func entries(of pairs: Yams.Node.Mapping, at path: String) -> [YAMLNode.Entry] {
        var lines: [String: Int] = [:]
        return pairs.compactMap { pair in
            guard let key = key(in: pair.key, at: path) else { return nil }
            let line = pair.key.line
            if let first = lines[key] {
                report("duplicate key \(key.quoted), first on line \(first)", at: path, pair.key)
                return nil
            }
            lines[key] = line
            return YAMLNode.Entry(key: key, line: line, value: node(pair.value, at: path.appending(key: key)))
        }
    }

    private mutating func key(in node: Yams.Node, at path: String) -> String? {
        guard case .scalar(let scalar) = node, !scalar.isEmpty else {
            report("a key must be a single value", at: path, node)
            return nil
        }
        guard case .text(let key) = content(of: node, at: path) else { return nil }
        return DuplicateKeys.unmark(key)
    }

    private mutating func report(_ message: String, at path: String, _ node: Yams.Node) {
        problems.append(YAMLProblem(file: file, line: node.line, key: path, message: message))
    }
}

extension Yams.Node {
    /// The line on which the node begins, counted from 1; the parser knows it of all its nodes.
    fileprivate var line: Int { mark?.line ?? 1 }
}

extension Yams.Node.Scalar {
    /// Whether this is no value at all: null, or the empty text.
    fileprivate var isEmpty: Bool {
        string.isEmpty || style == .plain && ["~", "null", "Null", "NULL"].contains(string)
    }
}
