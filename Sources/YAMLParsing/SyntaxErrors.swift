// SPDX-License-Identifier: Apache-2.0

import StrictYAML
import Yams

extension YAMLProblems {
    /// What `error`, thrown by Yams when it parsed `text`, says in the terms of this module.
    init(file: String, syntaxError error: any Error, in text: String) {
        switch error {
        case YamlError.scanner(let context, let problem, let mark, _),
            YamlError.parser(let context, let problem, let mark, _):
            let context = context.map { "\($0.text) (line \($0.mark.line)), " } ?? ""
            self.init(file: file, line: mark.line, "YAML syntax error: \(context)\(problem)")
        case YamlError.composer(let context, let problem, let mark, _):
            // The context's mark is a dummy.
            let context = context.map { "\($0.text), " } ?? ""
            self.init(file: file, line: mark.line, "YAML syntax error: \(context)\(problem)")
        case YamlError.reader(let problem, _, let character, _):
            let before = text.unicodeScalars.prefix { $0.value != character }
            let line = 1 + before.count { $0 == "\n" }
            self.init(file: file, line: line, "YAML syntax error: \(problem)")
        case YamlError.duplicatedKeysInMapping(let keys, let context):
            let keys = keys.map(\.quoted).joined(separator: ", ")
            self.init(file: file, line: context.mark.line, "duplicate keys \(keys)")
        default:
            self.init(file: file, "YAML error: \(error)")
        }
    }
}
