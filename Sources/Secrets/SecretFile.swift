// SPDX-License-Identifier: Apache-2.0

import LocalFiles

/// The reason why a file with certificates, a key or a token is unusable.
public struct CredentialError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The problem, with the file's path but without its content.
    public let description: String

    /// Makes an error from its description.
    public init(_ description: String) { self.description = description }
}

/// Reads files with certificates, keys and tokens.
public enum SecretFile {
    private static let maximumBytes = 1 << 20

    /// Reads a file of at most 1 MiB; links are followed.
    public static func read(_ path: String) throws(CredentialError) -> [UInt8] {
        do throws(LocalFile.Failure) {
            return try LocalFile.bytes(of: path, maximumBytes: maximumBytes)
        } catch {
            throw CredentialError("cannot read \(path): \(error.reason)")
        }
    }
}
