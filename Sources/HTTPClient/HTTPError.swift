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
    /// False where the request was not sent to its end, so that the server cannot have acted on its whole body.
    public let wasSent: Bool
    /// True where a TLS handshake did not finish.
    public let isOfHandshake: Bool

    /// Makes an error of its parts.
    public init(kind: Kind, message: String, wasSent: Bool = true, isOfHandshake: Bool = false) {
        self.kind = kind
        self.message = message
        self.wasSent = wasSent
        self.isOfHandshake = isOfHandshake
    }

    /// Returns the same error with a remedy behind its message.
    public func advising(_ remedy: String) -> HTTPError {
        HTTPError(kind: kind, message: "\(message); \(remedy)", wasSent: wasSent, isOfHandshake: isOfHandshake)
    }
}

extension HTTPError: CustomStringConvertible {
    /// The error for a log.
    public var description: String { message }
}
