// SPDX-License-Identifier: Apache-2.0

import LocalFiles

/// The user and the password for ClickHouse.
public enum ClickHouseCredentials: Equatable, Sendable {
    /// A fixed user and password; empty for ClickHouse's `default` user and for no password.
    case fixed(user: String, password: String)
    /// The first lines of two files, such as a mounted secret's, read for every request: a changed password applies
    /// from the next one on.
    ///
    /// A missing file counts as an empty one. So does a file at its default path if a directory above it may not be
    /// searched, because that directory may belong to another program.
    case files(user: String, password: String, areDefaults: Bool = false)

    /// ClickHouse's `default` user without a password.
    public static let none = ClickHouseCredentials.fixed(user: "", password: "")

    /// Returns the current user and password. Throws if a file that exists cannot be read.
    public func read() throws -> (user: String, password: String) {
        switch self {
        case .fixed(let user, let password): (user, password)
        case .files(let user, let password, let areDefaults):
            (try Self.line(of: user, isDefault: areDefaults), try Self.line(of: password, isDefault: areDefaults))
        }
    }

    /// The reason that files at their default paths count as missing although they may exist; nil if there is none.
    public var warning: String? {
        guard case .files(let user, let password, areDefaults: true) = self else { return nil }
        for path in [user, password] {
            do throws(LocalFile.Failure) {
                _ = try LocalFile.bytes(of: path, maximumBytes: Self.maximumBytes)
            } catch {
                if error.isHidden { return "\(path) is not used: \(error.reason)" }
            }
        }
        return nil
    }

    private static let maximumBytes = 1 << 20

    private static func line(of path: String, isDefault: Bool) throws -> String {
        let bytes: [UInt8]
        do throws(LocalFile.Failure) {
            bytes = try LocalFile.bytes(of: path, maximumBytes: maximumBytes)
        } catch {
            guard error.isMissing || isDefault && error.isHidden else {
                throw LocalFile.Failure(reason: "\(path): \(error.reason)")
            }
            return ""
        }
        // Some editors begin a file with a byte order mark.
        let content = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? bytes.dropFirst(3) : bytes[...]
        guard let text = String(validating: content, as: UTF8.self) else {
            throw LocalFile.Failure(reason: "\(path): it is not UTF-8 text")
        }
        return String(text.prefix { !$0.isNewline })
    }
}
