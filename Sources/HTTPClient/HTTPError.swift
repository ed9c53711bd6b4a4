// SPDX-License-Identifier: Apache-2.0

/// The reason why an exchange has no usable response.
public struct HTTPError: Error, Equatable, Sendable {
    /// The kind of failure.
    public enum Kind: String, Equatable, Sendable, CaseIterable {
        /// The name resolution or the connection failed, also during a TLS handshake.
        case connection
        /// The exchange took too long, or no byte arrived for too long. The server may have acted on the request all
        /// the same.
        case timeout
        /// A certificate, or another part of the TLS handshake, was rejected by either side.
        case tls
        /// The response is larger than the limit.
        case responseTooLarge
        /// The request itself cannot be sent: a bad URL or an unreadable certificate.
        case badRequest
        /// The server redirects more often than is allowed, or to a URL that is not `https://`.
        case redirect
        /// The request was cancelled.
        case cancelled
    }

    /// The kind of failure.
    public let kind: Kind
    /// libcurl's message, which contains the server's name but no credentials.
    public let message: String
    /// False if the request was not sent in full, so that the server cannot have acted on its whole body.
    public let wasSent: Bool
    /// True if a TLS handshake did not finish.
    public let isOfHandshake: Bool

    /// Makes an error from its parts.
    public init(kind: Kind, message: String, wasSent: Bool = true, isOfHandshake: Bool = false) {
        self.kind = kind
        self.message = message
        self.wasSent = wasSent
        self.isOfHandshake = isOfHandshake
    }

    /// Returns the same error with a remedy appended to its message.
    public func advising(_ remedy: String) -> HTTPError {
        HTTPError(kind: kind, message: "\(message); \(remedy)", wasSent: wasSent, isOfHandshake: isOfHandshake)
    }
}

extension HTTPError: CustomStringConvertible {
    /// The error as text for a log.
    public var description: String { message }
}
