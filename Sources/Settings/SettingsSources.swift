// SPDX-License-Identifier: Apache-2.0

public import DocumentTree

/// The sources of settings, in order of precedence: flags, environment variables, a configuration file.
public struct SettingsSources: Sendable {
    /// Parses a YAML text; `origin` is the name by which problems refer to it.
    public typealias Parser = @Sendable (_ text: String, _ origin: String) throws(DocumentProblems) -> Document

    let flags: [String: String]
    let environment: [String: String]
    let variablePrefix: String
    let document: Document?
    let parse: Parser?
    let problems: [DocumentProblem]
    /// Whether there is a configuration file that cannot be read, so that its values are unknown.
    let lacksDocument: Bool

    /// Makes sources from a process's arguments, environment and configuration file.
    ///
    /// - Parameters:
    ///   - arguments: Flags with their values, `--name value` or `--name=value`; of a repeated flag, the last counts.
    ///   - environment: The environment. An empty variable counts as not set.
    ///   - variablePrefix: Prefix of the variables that are named after keys. If it is not empty, unknown variables
    ///     with this prefix are problems.
    ///   - document: The configuration file, or its problems; nil if there is none.
    ///   - parse: Parses the flags and variables whose values are lists or mappings; nil if there are none.
    public init(
        arguments: [String] = [], environment: [String: String] = [:], variablePrefix: String = "",
        document: Result<Document, DocumentProblems>? = nil, parse: Parser? = nil
    ) {
        var problems: [DocumentProblem] = []
        flags = Self.flags(arguments, &problems)
        self.environment = environment.filter { !$0.value.isEmpty }
        self.variablePrefix = variablePrefix
        self.parse = parse
        switch document {
        case .success(let document): self.document = document
        case .failure(let error):
            self.document = nil
            problems += error.problems
        case nil: self.document = nil
        }
        lacksDocument = document != nil && self.document == nil
        self.problems = problems + (self.document?.problems ?? [])
    }

    private static func flags(_ arguments: [String], _ problems: inout [DocumentProblem]) -> [String: String] {
        var flags: [String: String] = [:]
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if !argument.hasPrefix("--") {
                let message = "is neither a flag nor a flag's value; flags are written --name value"
                problems.append(DocumentProblem(file: argument.quoted, line: nil, key: "", message: message))
            } else if let equals = argument.firstIndex(of: "=") {
                flags[String(argument[..<equals])] = String(argument[argument.index(after: equals)...])
            } else if let value = rest.first, !value.hasPrefix("--") {
                flags[argument] = value
                rest.removeFirst()
            } else {
                problems.append(DocumentProblem(file: argument, line: nil, key: "", message: "has no value"))
            }
        }
        return flags
    }
}
