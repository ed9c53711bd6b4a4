// SPDX-License-Identifier: Apache-2.0

import DocumentTree

extension SettingsSources {
    /// A value that was given for a setting.
    struct Given {
        let source: Setting.Source
        /// The place that problems name.
        let origin: String
        /// The path of the mapping that holds the key.
        var path = ""
        let key: String
        let node: DocumentNode
        var problems: [DocumentProblem] = []

        var isOfFile: Bool {
            if case .file = source { true } else { false }
        }
    }

    /// Returns the value given for a setting whose value is a text. A key of the file without a value counts as not
    /// given if the setting is optional.
    func text(of setting: Setting, mayBeEmpty: Bool) -> Given? {
        if let (source, name, text) = words(of: setting) {
            let node = DocumentNode(line: nil, content: .text(text))
            return Given(source: source, origin: name, key: setting.key, node: node)
        }
        return entry(of: setting).flatMap { mayBeEmpty && $0.node.isEmpty ? nil : $0 }
    }

    /// Returns the value given for a setting whose value is a list or mapping.
    func structure(of setting: Setting) throws(DocumentProblems) -> Given? {
        if let (source, name, text) = words(of: setting) {
            guard let parse else { preconditionFailure("a structure needs a parser") }
            let document = try parse(text, name)
            return Given(
                source: source, origin: name, key: setting.key, node: document.root, problems: document.problems)
        }
        return entry(of: setting).flatMap { $0.node.isEmpty ? nil : $0 }
    }

    private func words(of setting: Setting) -> (Setting.Source, name: String, String)? {
        for flag in setting.flags {
            if let text = flags[flag] { return (.flag(flag), flag, text) }
        }
        for variable in setting.variables {
            if let text = environment[variable] { return (.variable(variable), variable, text) }
        }
        return nil
    }

    private func entry(of setting: Setting) -> Given? {
        guard let document else { return nil }
        for key in setting.keys {
            var node = document.root
            var names = key.split(separator: ".").map(String.init)
            let last = names.removeLast()
            for name in names { node = node.entry(name)?.value ?? DocumentNode(line: nil, content: .empty) }
            guard let entry = node.entry(last) else { continue }
            return Given(
                source: .file(document.file, line: entry.line), origin: document.file,
                path: names.joined(separator: "."), key: last, node: entry.value)
        }
        return nil
    }

    // MARK: - Unknown names

    /// Returns a problem for each given name that belongs to no setting.
    func unknownNames(besides settings: [Setting]) -> [DocumentProblem] {
        var problems = flags.keys.sorted().unknown(among: settings.flatMap(\.flags), "there is no such flag")
        if !variablePrefix.isEmpty {
            problems += environment.keys.filter { $0.hasPrefix(variablePrefix) }.sorted()
                .unknown(among: settings.flatMap(\.variables), "there is no such setting")
        }
        if let document { findUnknown(in: document.root, at: "", settings.flatMap(\.keys), document, &problems) }
        return problems
    }

    private func findUnknown(
        in node: DocumentNode, at path: String, _ keys: [String], _ document: Document,
        _ problems: inout [DocumentProblem]
    ) {
        guard case .mapping(let entries) = node.content else {
            if !node.isEmpty { problems.append(node.problem(at: path, document, "expected a mapping")) }
            return
        }
        let prefix = path.isEmpty ? "" : path + "."
        for entry in entries {
            let key = prefix + entry.key
            if keys.contains(key) { continue }
            if keys.contains(where: { $0.hasPrefix(key + ".") }) {
                findUnknown(in: entry.value, at: key, keys, document, &problems)
                continue
            }
            let siblings = Set(
                keys.filter { $0.hasPrefix(prefix) }.compactMap { key in
                    key.dropFirst(prefix.count).split(separator: ".").first.map(String.init)
                }
            ).sorted()
            let advice = entry.key.nearest(among: siblings).map { "did you mean '\($0)'?" } ?? "--help lists all keys"
            problems.append(
                DocumentProblem(
                    file: document.file, line: entry.line, key: path,
                    message: "unknown key \(entry.key.quoted); \(advice)"))
        }
    }
}

extension [String] {
    /// Returns a problem for each of these names that is unknown.
    fileprivate func unknown(among known: [String], _ message: String) -> [DocumentProblem] {
        filter { !known.contains($0) }.map { name in
            let advice = name.nearest(among: known).map { "did you mean \($0)?" } ?? "--help lists all"
            return DocumentProblem(file: name, line: nil, key: "", message: "\(message); \(advice)")
        }
    }
}

extension DocumentNode {
    fileprivate func entry(_ key: String) -> Entry? {
        guard case .mapping(let entries) = content else { return nil }
        return entries.first { $0.key == key }
    }

    fileprivate func problem(at path: String, _ document: Document, _ message: String) -> DocumentProblem {
        DocumentProblem(file: document.file, line: line, key: path, message: message)
    }

    /// The value on one line, in YAML's flow style.
    var flowText: String {
        switch content {
        case .empty, .refused: "null"
        case .text(let text): text.flowText
        case .list(let items): "[\(items.map(\.flowText).joined(separator: ", "))]"
        case .mapping(let entries):
            "{\(entries.map { "\($0.key.flowText): \($0.value.flowText)" }.joined(separator: ", "))}"
        }
    }
}

extension String {
    /// The text as a scalar in YAML's flow style, quoted if necessary.
    fileprivate var flowText: String {
        let isPlain = allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-/:".contains($0)) }
        return !isEmpty && isPlain && last != ":" && first != "-"
            ? self : "\"\(replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n"))\""
    }
}
