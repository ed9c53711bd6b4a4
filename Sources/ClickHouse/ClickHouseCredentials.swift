// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// As whom ClickHouse is spoken to.
public enum ClickHouseCredentials: Equatable, Sendable {
    /// A user and a password that stay; empty for ClickHouse's `default` and for no password.
    case fixed(user: String, password: String)
    /// The first lines of two files, such as a mounted secret's, read for every request: a password that is changed counts
    /// from the next one on. A file that does not exist stands for nothing.
    case files(user: String, password: String)

    /// Nobody in particular.
    public static let none = ClickHouseCredentials.fixed(user: "", password: "")

    /// The user and the password of this moment. Throws where a file that exists cannot be read.
    public func read() throws -> (user: String, password: String) {
        switch self {
        case .fixed(let user, let password): (user, password)
        case .files(let user, let password): (try Self.line(of: user), try Self.line(of: password))
        }
    }

    private static func line(of path: String) throws -> String {
        guard FileManager.default.fileExists(atPath: path) else { return "" }
        let text = try String(contentsOfFile: path, encoding: .utf8)
        return String(text.prefix { !$0.isNewline })
    }
}
