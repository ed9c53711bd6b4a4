// SPDX-License-Identifier: Apache-2.0

import HTTPClient

/// What kind of failure keeps a reflector from listing or watching. The raw values are fit for a metric's label.
public enum ReflectorFailure: String, CaseIterable, Sendable {
    /// The server could not be connected to, or the connection broke.
    case connection
    /// The server took too long.
    case timeout
    /// A certificate or the TLS handshake was refused.
    case tls
    /// The token or a certificate cannot be read, or is none.
    case credentials
    /// The server does not know who asks (401).
    case unauthorized
    /// The server does not allow it (403): RBAC.
    case forbidden
    /// The version asked for is too old (410). It happens in the best of clusters; everything is listed anew.
    case expired
    /// The server is busy (429).
    case throttled = "too_many_requests"
    /// The server failed (5xx).
    case server
    /// The server refuses the request for another reason.
    case refused
    /// What the server sent cannot be read.
    case malformed

    /// The kind of an HTTP status that is not 200.
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

    /// The kind of an exchange without an answer.
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
