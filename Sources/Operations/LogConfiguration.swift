// SPDX-License-Identifier: Apache-2.0

public import Logging

/// How a daemon logs.
public struct LogConfiguration: Equatable, Sendable {
    /// How a line looks.
    public enum Format: String, CaseIterable, Sendable {
        /// As text where standard error is a terminal, else as JSON.
        case automatic = "auto"
        /// A JSON object.
        case json
        /// Words for people.
        case text
    }

    /// The least severe level that is logged.
    public var level: Logger.Level
    /// How a line looks.
    public var format: Format

    /// Makes a configuration.
    public init(level: Logger.Level = .info, format: Format = .automatic) {
        self.level = level
        self.format = format
    }

    /// Reads the settings of logs.
    ///
    /// - Parameter isReloadable: Whether the level changes while the daemon runs.
    public init(_ settings: inout SettingsReader, isReloadable: Bool = false) {
        let help = "Least severe level to log."
        level =
            isReloadable
            ? settings.choice("log_level", default: .info, help, .reloadable)
            : settings.choice("log_level", default: .info, help)
        format = settings.choice(
            "log_format", default: .automatic,
            "How a line of the log looks; auto is text on a terminal and JSON everywhere else.")
    }
}
