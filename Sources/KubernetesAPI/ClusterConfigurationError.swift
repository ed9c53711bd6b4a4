// SPDX-License-Identifier: Apache-2.0

/// Why it is not known how to reach the API server, and what to do about it.
public struct ClusterConfigurationError: Error, Hashable {
    /// The file that is wrong; nil where it is the environment.
    package var file: String?
    /// What is wrong in the file, from the outside in (`users[admin].user.exec`), or the variable of the environment; nil
    /// where it is the file as a whole.
    package var key: String?
    /// What is wrong.
    package var problem: String
    /// What to do about it.
    package var remedy: String

    /// Makes an error of its parts.
    package init(file: String? = nil, key: String? = nil, problem: String, remedy: String) {
        self.file = file
        self.key = key
        self.problem = problem
        self.remedy = remedy
    }
}

extension ClusterConfigurationError: CustomStringConvertible {
    /// The error for a log, the remedy included.
    public var description: String {
        "\([file, key, problem].compactMap(\.self).joined(separator: ": ")); \(remedy)"
    }
}
