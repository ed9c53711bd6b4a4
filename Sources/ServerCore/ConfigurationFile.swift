// SPDX-License-Identifier: Apache-2.0

import DocumentTree
import Glibc
package import Settings
import YAMLParsing

/// The server's configuration file, with the flags and variables that override it.
package struct ConfigurationFile: Sendable {
    /// The default path, as in ClickHouse's kubenetmon.
    static let defaultPath = "/etc/kubenetmon-server/config.yaml"

    /// The file's path; nil if there is no file.
    package let path: String?
    private let arguments: [String]
    private let environment: [String: String]

    /// Creates a file from its path; the default file may be missing.
    package init(path: String?, arguments: [String] = [], environment: [String: String] = [:]) {
        self.path = path ?? (access(Self.defaultPath, F_OK) == 0 ? Self.defaultPath : nil)
        self.arguments = arguments
        self.environment = environment
    }

    /// Reads the file as it is now.
    ///
    /// - Parameter isReload: Whether the file has been read before. A pipe or a terminal, such as a shell's
    ///   `<(command)`, can be read only once.
    package func read(
        isReload: Bool = false
    ) throws(SettingsProblems) -> (value: ServerConfiguration, settings: EffectiveSettings) {
        let document = path.map { path in
            Result { () throws(DocumentProblems) in try Document(contentsOf: path, acceptsStreams: !isReload) }
        }
        return try SettingsReader.read(
            ServerConfiguration.sources(arguments: arguments, environment: environment, document: document)
        ) { ServerConfiguration(&$0) }
    }
}
