// SPDX-License-Identifier: Apache-2.0

/// A file with a token on each line. Several lines make a rotation possible without rejections: the server accepts any
/// of its tokens, the agent sends its first.
public struct TokenFile: Equatable, Sendable {
    /// The file's path.
    public let path: String

    /// Names the file.
    public init(_ path: String) { self.path = path }

    /// Reads the tokens that the file now holds, at least one. Blocks.
    public func read() throws(CredentialError) -> [BearerToken] {
        let lines = try SecretFile.read(path).split(whereSeparator: { $0 == 0x0a || $0 == 0x0d })
        let tokens = lines.map { $0.filter { $0 != 0x20 && $0 != 0x09 } }.filter { !$0.isEmpty }
        guard !tokens.isEmpty else { throw CredentialError("\(path) is empty") }
        guard tokens.allSatisfy({ $0.allSatisfy { 0x21...0x7e ~= $0 } }) else {
            throw CredentialError("\(path) holds characters other than visible ASCII")
        }
        return tokens.map { BearerToken(String(decoding: $0, as: UTF8.self)) }
    }
}
