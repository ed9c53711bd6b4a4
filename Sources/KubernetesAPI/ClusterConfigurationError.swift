// SPDX-License-Identifier: Apache-2.0

/// The reason that no configuration for the API server was found, and its remedy.
public struct ClusterConfigurationError: Error, Hashable {
    /// The file with the error; nil if it is in the environment.
    package var file: String?
    /// The path of the key with the error (`users[admin].user.exec`), or the name of the environment variable; nil if
    /// the file as a whole is wrong.
    package var key: String?
    /// The problem.
    package var problem: String
    /// The remedy.
    package var remedy: String

    /// Makes an error from its parts.
    package init(file: String? = nil, key: String? = nil, problem: String, remedy: String) {
        self.file = file
        self.key = key
        self.problem = problem
        self.remedy = remedy
    }
}

extension ClusterConfigurationError: CustomStringConvertible {
    /// The error for a log, including the remedy.
    public var description: String {
        "\([file, key, problem].compactMap(\.self).joined(separator: ": ")); \(remedy)"
    }
}
