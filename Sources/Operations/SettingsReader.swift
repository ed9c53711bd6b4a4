// SPDX-License-Identifier: Apache-2.0

/// Reads settings from flags and the environment, and gathers everything that is wrong with them.
public struct SettingsReader {
    /// All settings that cannot be used.
    public struct Problems: Error, CustomStringConvertible, Sendable {
        /// One line for each.
        public let lines: [String]

        /// The problems, a line each.
        public var description: String { lines.joined(separator: "\n") }
    }

    private let environment: [String: String]
    private var problems: [String] = []

    /// Makes a reader over the process's environment.
    public init(environment: [String: String]) {
        self.environment = environment
    }

    /// The flag's value where the flag is given, else the environment variable's where it is set and not empty, else the
    /// default. A setting without a default must be given.
    ///
    /// - Parameters:
    ///   - flag: The flag's text, nil where it is not given.
    ///   - name: The flag's name, such as `--metrics-port`.
    ///   - variable: The environment variable's name.
    ///   - expected: What values are allowed, for the problem's text: "a port from 1 to 65535".
    ///   - defaultValue: The value where nothing is given.
    ///   - parse: Reads the text, nil where it is not allowed.
    public mutating func value<Value>(
        flag: String?, _ name: String, variable: String, expected: String, default defaultValue: Value? = nil,
        parse: (String) -> Value?
    ) -> Value? {
        let (text, source) =
            flag.map { ($0, name) } ?? environment[variable].flatMap { $0.isEmpty ? nil : ($0, variable) }
            ?? (nil, name)
        guard let text else {
            if defaultValue == nil {
                problems.append("\(variable) (or \(name)) is not set: it must be \(expected)")
            }
            return defaultValue
        }
        guard let value = parse(text) else {
            problems.append("\(source): '\(text)' is not \(expected)")
            return defaultValue
        }
        return value
    }

    /// Throws everything that was wrong so far.
    public func check() throws(Problems) {
        guard problems.isEmpty else { throw Problems(lines: problems) }
    }
}
