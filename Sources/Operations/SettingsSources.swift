// SPDX-License-Identifier: Apache-2.0

public import StrictYAML

/// Where settings come from: flags, else environment variables, else a configuration file.
public struct SettingsSources: Sendable {
    /// Makes a document of a YAML text and its origin's name.
    public typealias Parser = @Sendable (_ text: String, _ origin: String) throws(YAMLProblems) -> YAMLDocument

    let flags: [String: String]
    let environment: [String: String]
    let variablePrefix: String
    let document: YAMLDocument?
    let parse: Parser?
    let problems: [YAMLProblem]
    /// Whether there is a file that cannot be read: nobody knows what it says.
    let lacksDocument: Bool

    /// Makes sources of what a process was given.
    ///
    /// - Parameters:
    ///   - arguments: Flags with their values, `--name value` or `--name=value`; the last of a name counts.
    ///   - environment: The environment. A variable without text is one that is not set.
    ///   - variablePrefix: What the variables begin with whose names come from keys. Where it is not empty, others that
    ///     begin with it are problems.
    ///   - document: The configuration file, or what is wrong with it; nil where there is none.
    ///   - parse: Reads the text of flags and variables that stand for lists and mappings; nil where there are none such.
    public init(
        arguments: [String] = [], environment: [String: String] = [:], variablePrefix: String = "",
        document: Result<YAMLDocument, YAMLProblems>? = nil, parse: Parser? = nil
    ) {
        var problems: [YAMLProblem] = []
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

    private static func flags(_ arguments: [String], _ problems: inout [YAMLProblem]) -> [String: String] {
        var flags: [String: String] = [:]
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if !argument.hasPrefix("--") {
                let message = "is neither a flag nor a flag's value; flags are written --name value"
                problems.append(YAMLProblem(file: argument.quoted, line: nil, key: "", message: message))
            } else if let equals = argument.firstIndex(of: "=") {
                flags[String(argument[..<equals])] = String(argument[argument.index(after: equals)...])
            } else if let value = rest.first, !value.hasPrefix("--") {
                flags[argument] = value
                rest.removeFirst()
            } else {
                problems.append(YAMLProblem(file: argument, line: nil, key: "", message: "has no value"))
            }
        }
        return flags
    }
}
