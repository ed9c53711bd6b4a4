// SPDX-License-Identifier: Apache-2.0

/// A setting, declared by reading it, with its value.
public struct Setting: Equatable, Sendable {
    /// The source of a value.
    public enum Source: Equatable, Sendable {
        /// A flag of this name, such as `--port`.
        case flag(String)
        /// An environment variable of this name.
        case variable(String)
        /// A line of a file, counted from 1.
        case file(String, line: Int?)
        /// No value was given.
        case byDefault
    }

    /// The key in the configuration file, followed by other keys with the same meaning; a dot denotes a nested mapping.
    public let keys: [String]
    /// The flag, followed by those of the other keys.
    public let flags: [String]
    /// The environment variable, followed by those of the other keys.
    public let variables: [String]
    /// The allowed values: "a whole number from 1 to 65535".
    public let allowed: String
    /// The default value; nil if a value is required.
    let defaultText: String?
    /// The setting's effect, in sentences.
    public let help: String
    /// Whether the value must not be shown.
    let isSecret: Bool
    /// Whether the value is a URL whose user and password must not be shown.
    let hidesCredentials: Bool
    /// Whether a change takes effect while the daemon runs.
    public let isReloadable: Bool
    /// The value in use, in a form that does not depend on how it was written.
    var text: String
    /// The source of the value in use.
    public internal(set) var source: Source = .byDefault

    init(
        _ key: String, allowed: String, defaultText: String?, help: String, traits: [Trait], variablePrefix: String
    ) {
        var keys = [key]
        var flag: String?
        var variable: String?
        var isSecret = false
        var hidesCredentials = false
        var isReloadable = false
        for trait in traits {
            switch trait.kind {
            case .alias(let name): keys.append(name)
            case .flag(let name): flag = name
            case .variable(let name): variable = name
            case .secret: isSecret = true
            case .hidesCredentials: hidesCredentials = true
            case .reloadable: isReloadable = true
            }
        }
        self.keys = keys
        flags = keys.enumerated().map { $0 == 0 ? flag ?? Self.flag(of: $1) : Self.flag(of: $1) }
        variables = keys.enumerated().map {
            $0 == 0 ? variable ?? Self.variable(of: $1, variablePrefix) : Self.variable(of: $1, variablePrefix)
        }
        self.allowed = allowed
        self.defaultText = defaultText
        self.help = help
        self.isSecret = isSecret
        self.hidesCredentials = hidesCredentials
        self.isReloadable = isReloadable
        text = defaultText ?? ""
    }

    /// The key in the configuration file.
    public var key: String { keys[0] }

    /// The value in use; nil if it must not be shown.
    public var value: String? {
        if isSecret && source != .byDefault { return nil }
        return hidesCredentials ? text.withoutCredentials : text
    }

    private static func flag(of key: String) -> String {
        "--" + String(key.map { $0 == "_" || $0 == "." ? "-" : $0 })
    }

    private static func variable(of key: String, _ prefix: String) -> String {
        prefix + String(key.map { $0 == "." ? "_" : $0 }).uppercased()
    }
}

extension Setting {
    /// A property of a setting that most settings do not have.
    public struct Trait: Sendable {
        fileprivate enum Kind: Sendable {
            case alias(String)
            case flag(String)
            case variable(String)
            case secret
            case hidesCredentials
            case reloadable
        }

        fileprivate let kind: Kind

        /// A further key with the same meaning.
        public static func alias(_ key: String) -> Self { Self(kind: .alias(key)) }
        /// A flag that is not named after the key.
        public static func flag(_ name: String) -> Self { Self(kind: .flag(name)) }
        /// An environment variable that is not named after the key.
        public static func variable(_ name: String) -> Self { Self(kind: .variable(name)) }
        /// The value is never shown.
        public static let secret = Self(kind: .secret)
        /// The value is a URL, which is shown without its user and password.
        public static let hidesCredentials = Self(kind: .hidesCredentials)
        /// A change takes effect while the daemon runs.
        public static let reloadable = Self(kind: .reloadable)
    }
}

extension Setting.Source: CustomStringConvertible {
    /// The source as text: `config.yaml:3`, `--port`, `METRICS_PORT` or `default`.
    public var description: String {
        switch self {
        case .flag(let name), .variable(let name): name
        case .file(let name, let line): line.map { "\(name):\($0)" } ?? name
        case .byDefault: "default"
        }
    }
}
