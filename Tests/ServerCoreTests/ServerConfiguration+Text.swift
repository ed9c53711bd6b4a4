// SPDX-License-Identifier: Apache-2.0

import DocumentTree
import Settings
import YAMLParsing

import ServerCore

extension ServerConfiguration {
    /// Reads a configuration file's text under the name `config.yaml`, with flags and variables that override it.
    static func read(
        _ text: String?, arguments: [String] = [], environment: [String: String] = [:]
    ) throws(SettingsProblems) -> (value: ServerConfiguration, settings: EffectiveSettings) {
        let document = text.map { text in
            Result { () throws(DocumentProblems) in try Document(text: text, file: "config.yaml") }
        }
        return try SettingsReader.read(
            sources(arguments: arguments, environment: environment, document: document)
        ) { Self(&$0) }
    }

    /// Returns the problems with a configuration file's text.
    static func problems(
        _ text: String?, arguments: [String] = [], environment: [String: String] = [:]
    ) -> [String] {
        do throws(SettingsProblems) {
            _ = try read(text, arguments: arguments, environment: environment)
            return []
        } catch {
            return error.lines
        }
    }
}
