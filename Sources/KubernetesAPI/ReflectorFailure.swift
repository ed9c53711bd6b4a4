// SPDX-License-Identifier: Apache-2.0

import HTTPClient

/// The kind of a reflector's failure to list or watch. The raw values serve as a metric's label values.
public enum ReflectorFailure: String, CaseIterable, Sendable {
    /// The connection could not be established, or broke.
    case connection
    /// The server took too long.
    case timeout
    /// A certificate or the TLS handshake was rejected.
    case tls
    /// The token or a certificate cannot be read or is invalid.
    case credentials
    /// The server does not accept the credentials (401).
    case unauthorized
    /// The server does not allow the request (403): RBAC.
    case forbidden
    /// The requested version is too old (410). This happens in healthy clusters too; everything is listed again.
    case expired
    /// The server is busy (429).
    case throttled = "too_many_requests"
    /// The server failed (5xx).
    case server
    /// The server rejects the request for another reason.
    case refused
    /// The server's response cannot be read.
    case malformed

    /// Classifies an HTTP status other than 200.
    init(status: Int) {
        self =
            switch status {
            case 401: .unauthorized
            case 403: .forbidden
            case 410: .expired
            case 429: .throttled
            // An error in a watch may have no code.
            case ..<100, 500...: .server
            default: .refused
            }
    }

    /// Classifies an exchange without a response.
    init(_ error: HTTPError) {
        self =
            switch error.kind {
            case .timeout: .timeout
            case .tls: .tls
            case .badRequest: .credentials
            case .connection, .responseTooLarge, .redirect, .cancelled: .connection
            }
    }
}
