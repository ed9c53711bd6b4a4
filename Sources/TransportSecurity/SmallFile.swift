// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The reason why a file with certificates, a key or a token is unusable.
public struct CredentialError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The problem, with the file's path but without its content.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Reads files with certificates, keys and tokens.
enum SmallFile {
    private static let maximumBytes = 1 << 20

    /// Reads a file; links are followed.
    static func read(_ path: String) throws(CredentialError) -> [UInt8] {
        guard let stream = fopen(path, "re") else { throw unreadable(path) }
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&chunk, 1, chunk.count, stream)
            guard ferror(stream) == 0 else { throw unreadable(path) }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= maximumBytes else { throw CredentialError("\(path) is larger than 1 MiB") }
        }
    }

    private static func unreadable(_ path: String) -> CredentialError {
        CredentialError("cannot read \(path): \(String(cString: strerror(errno)))")
    }
}
