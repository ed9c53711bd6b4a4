// SPDX-License-Identifier: Apache-2.0

public import Logging
public import Settings

/// The level and format of a daemon's log.
public struct LogConfiguration: Equatable, Sendable {
    /// The format of a line.
    public enum Format: String, CaseIterable, Sendable {
        /// Text if standard error is a terminal, else JSON.
        case automatic = "auto"
        /// A JSON object.
        case json
        /// Plain text.
        case text
    }

    /// The least severe level that is logged.
    public var level: Logger.Level
    /// The format of a line.
    public var format: Format

    /// Makes a configuration.
    public init(level: Logger.Level = .info, format: Format = .automatic) {
        self.level = level
        self.format = format
    }

    /// Reads the log settings.
    ///
    /// - Parameter isReloadable: Whether the level can change while the daemon runs.
    public init(_ settings: inout SettingsReader, isReloadable: Bool = false) {
        let help = "Least severe level to log."
        level =
            isReloadable
            ? settings.choice("log_level", default: .info, help, .reloadable)
            : settings.choice("log_level", default: .info, help)
        format = settings.choice(
            "log_format", default: .automatic,
            "Format of log lines; auto is text on a terminal and JSON everywhere else.")
    }
}
