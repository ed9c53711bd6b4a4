// SPDX-License-Identifier: Apache-2.0

/// Why there is no answer.
public struct HTTPError: Error, Equatable, Sendable {
    /// What kind of failure it was.
    public enum Kind: String, Equatable, Sendable, CaseIterable {
        /// The server's name or address, or the connection to it, failed; also during a TLS handshake.
        case connection
        /// The time was over, or no byte came for too long. The server may have acted on the request all the same.
        case timeout
        /// A certificate, or another part of the TLS handshake, was rejected by either side.
        case tls
        /// The answer is larger than the bound.
        case responseTooLarge
        /// The request itself cannot be sent: a bad URL or an unreadable certificate.
        case badRequest
        /// The server sends on to somewhere else more often than is allowed, or to something other than `https://`.
        case redirect
        /// Somebody cancelled the request.
        case cancelled
    }

    /// What kind of failure it was.
    public let kind: Kind
    /// libcurl's words for it, the server's name included, credentials not.
    public let message: String
    /// False where no byte of the request was sent, as when there was no connection.
    public let wasSent: Bool

    /// Makes an error of its parts.
    public init(kind: Kind, message: String, wasSent: Bool = true) {
        self.kind = kind
        self.message = message
        self.wasSent = wasSent
    }
}

extension HTTPError: CustomStringConvertible {
    /// The error for a log.
    public var description: String { message }
}
