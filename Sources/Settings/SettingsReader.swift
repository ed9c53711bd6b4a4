// SPDX-License-Identifier: Apache-2.0

public import DocumentTree

/// Reads settings. Reading a setting declares it: the help, the reference and the effective configuration are made from
/// the settings that were read.
///
/// A reader records a problem and continues with a stand-in for the value that it could not read, so that one pass
/// finds all problems. Every setting must be read whatever the values of others are; otherwise it would be reported as
/// unknown.
public struct SettingsReader {
    private let sources: SettingsSources
    private var settings: [Setting] = []
    private var problems: [DocumentProblem]
    private var warnings: [String] = []

    private init(_ sources: SettingsSources) {
        self.sources = sources
        problems = sources.problems
    }

    /// Reads settings with `body`, and throws all problems if there are any: invalid values, and names of settings that
    /// `body` does not read.
    public static func read<Value>(
        _ sources: SettingsSources, _ body: (inout SettingsReader) -> Value
    ) throws(SettingsProblems) -> (value: Value, settings: EffectiveSettings) {
        var reader = SettingsReader(sources)
        let value = body(&reader)
        let problems = reader.problems + sources.unknownNames(besides: reader.settings)
        guard problems.isEmpty else { throw SettingsProblems(problems) }
        return (value, EffectiveSettings(reader.settings, warnings: reader.warnings))
    }

    /// Returns the settings that `body` reads, with their defaults.
    public static func declarations(
        variablePrefix: String = "", _ body: (inout SettingsReader) -> Void
    ) -> EffectiveSettings {
        var reader = SettingsReader(SettingsSources(variablePrefix: variablePrefix))
        body(&reader)
        return EffectiveSettings(reader.settings, warnings: [])
    }

    // MARK: - Generic readers

    /// Reads a setting whose value is a text.
    ///
    /// - Parameters:
    ///   - key: The key in the configuration file; the flag and the environment variable are named after it.
    ///   - defaultValue: The value if none is given.
    ///   - allowed: The allowed values, worded to follow "is not": "a whole number from 1 to 10".
    ///   - help: The setting's effect, in sentences.
    ///   - traits: Properties that most settings do not have.
    ///   - show: Writes a value in the syntax that `parse` reads.
    ///   - parse: Parses a text; nil if the value is not allowed.
    public mutating func value<Value>(
        _ key: String, default defaultValue: Value, allowed: String, _ help: String, _ traits: Setting.Trait...,
        show: (Value) -> String, parse: (String) -> Value?
    ) -> Value {
        scalar(
            key, default: defaultValue, standIn: defaultValue, allowed: allowed, help, traits, show: show, parse: parse)
    }

    mutating func scalar<Value>(
        _ key: String, default defaultValue: Value?, standIn: Value, allowed: String, _ help: String,
        _ traits: [Setting.Trait], show: (Value) -> String, parse: (String) -> Value?
    ) -> Value {
        var setting = Setting(
            key, allowed: allowed, defaultText: defaultValue.map(show), help: help, traits: traits,
            variablePrefix: sources.variablePrefix)
        let value: Value?
        if let given = sources.text(of: setting, mayBeEmpty: defaultValue != nil) {
            setting.source = given.source
            value = read(given, setting) { mapping, key in
                mapping.value(key, as: allowed) { (text: String) in parse(text) }
            }
        } else {
            if defaultValue == nil { reportMissing(setting) }
            value = defaultValue
        }
        setting.text = show(value ?? standIn)
        settings.append(setting)
        return value ?? standIn
    }

    /// Reads a list or mapping, given as YAML in the file, a flag or an environment variable.
    ///
    /// - Parameters:
    ///   - key: The key in the configuration file; the flag and the environment variable are named after it.
    ///   - defaultText: The default in YAML.
    ///   - defaultValue: The value if none is given.
    ///   - allowed: The allowed values: "a list of networks".
    ///   - help: The setting's effect, in sentences.
    ///   - traits: Properties that most settings do not have.
    ///   - body: Reads the value at `key` of a mapping.
    public mutating func structure<Value>(
        _ key: String, default defaultValue: Value, _ defaultText: String, allowed: String, _ help: String,
        _ traits: Setting.Trait..., read body: (inout DocumentMapping, _ key: String) -> Value
    ) -> Value {
        var setting = Setting(
            key, allowed: allowed, defaultText: defaultText, help: help, traits: traits,
            variablePrefix: sources.variablePrefix)
        var value = defaultValue
        do throws(DocumentProblems) {
            if let given = try sources.structure(of: setting) {
                setting.source = given.source
                setting.text = given.node.flowText
                problems += given.problems
                value = read(given, setting, body)
            }
        } catch {
            problems += error.problems
        }
        settings.append(setting)
        return value
    }

    private mutating func read<Value>(
        _ given: SettingsSources.Given, _ setting: Setting, _ body: (inout DocumentMapping, _ key: String) -> Value
    ) -> Value {
        let key = given.key
        var mapping = DocumentMapping(
            file: given.origin, path: given.path, line: given.node.line,
            entries: [DocumentNode.Entry(key: key, line: given.node.line, value: given.node)])
        let value = body(&mapping, key)
        let isHidden = setting.isSecret || setting.hidesCredentials && given.node.flowText.contains("@")
        problems += mapping.problems.map { problem in
            DocumentProblem(
                file: problem.file, line: problem.line,
                // For a flag or variable, the problem names it as the place already.
                key: given.isOfFile || problem.key != key ? problem.key : "",
                message: isHidden ? "is not \(setting.allowed)" : problem.message)
        }
        return value
    }

    private mutating func reportMissing(_ setting: Setting) {
        guard !sources.lacksDocument else { return }
        let others = "\(setting.variables[0]) or \(setting.flags[0])"
        problems.append(
            sources.document.map {
                DocumentProblem(
                    file: $0.file, line: $0.root.line, key: "",
                    message: "missing key '\(setting.key)' (or \(others)): it must be \(setting.allowed)")
            }
                ?? DocumentProblem(
                    file: others, line: nil, key: "", message: "is not set: it must be \(setting.allowed)"))
    }

    // MARK: - Checks across settings

    /// Returns whether a value was given for a setting, which must have been read before.
    public func isGiven(_ key: String) -> Bool { setting(key).source != .byDefault }

    /// Records a problem of a setting, which must have been read before, in combination with others.
    public mutating func report(_ key: String, _ message: String) {
        let setting = setting(key)
        let (file, line, path) =
            switch setting.source {
            case .file(let file, let line): (file, line, key)
            case .flag(let name), .variable(let name): (name, nil as Int?, "")
            case .byDefault: (key, nil, "")
            }
        problems.append(DocumentProblem(file: file, line: line, key: path, message: message))
    }

    /// Records a warning, such as for a setting that weakens security.
    public mutating func warn(_ warning: String) { warnings.append(warning) }

    private func setting(_ key: String) -> Setting {
        guard let setting = settings.first(where: { $0.key == key }) else {
            preconditionFailure("\(key) has not been read yet")
        }
        return setting
    }
}
