// SPDX-License-Identifier: Apache-2.0

/// Why there is no answer.
public struct HTTPError: Error, Equatable, Sendable {
    /// What kind of failure it was.
    public enum Kind: Equatable, Sendable {
        /// The server's name or address, or the connection to it, failed.
        case connection
        /// The time was over. The server may have acted on the request all the same.
        case timeout
        /// The server's certificate or the TLS handshake was refused.
        case tls
        /// The answer is larger than the bound.
        case responseTooLarge
        /// The request itself cannot be sent: a bad URL or an unreadable certificate file.
        case badRequest
    }

    /// What kind of failure it was.
    public let kind: Kind
    /// libcurl's words for it, the server's name included, credentials not.
    public let message: String
}

extension HTTPError: CustomStringConvertible {
    /// The error for a log.
    public var description: String { message }
}
