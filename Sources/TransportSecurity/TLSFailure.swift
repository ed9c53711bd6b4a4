// SPDX-License-Identifier: Apache-2.0

import NIOSSL

/// The reason why a TLS connection failed, as far as BoringSSL's errors can be told apart.
public enum TLSFailure: String, CaseIterable, Sendable {
    /// The peer does not speak TLS.
    case notTLS = "tls_not_tls"
    /// The two sides have no version of TLS, cipher suite or signature algorithm in common.
    case version = "tls_version"
    /// The client has sent no certificate although the server requires one.
    case noCertificate = "tls_no_certificate"
    /// The peer's certificate has expired, or its authority is not trusted here.
    case untrustedCertificate = "tls_untrusted_certificate"
    /// The server's certificate is for another name.
    case otherName = "tls_other_name"
    /// The peer rejects this side's certificate.
    case certificateRefused = "tls_certificate_refused"
    /// The peer closed the connection before the handshake was complete.
    case closed = "tls_closed"
    /// The handshake took too long.
    case timeout = "tls_timeout"
    /// Anything else.
    case other = "tls_handshake"

    /// Parts of BoringSSL's error names (`ssl_error` and alert names), and their meanings.
    private static let names: [(part: String, failure: TLSFailure)] = [
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", .noCertificate), ("ALERT_CERTIFICATE_REQUIRED", .noCertificate),
        ("CERTIFICATE_VERIFY_FAILED", .untrustedCertificate), ("ALERT_UNKNOWN_CA", .certificateRefused),
        ("ALERT_BAD_CERTIFICATE", .certificateRefused), ("ALERT_CERTIFICATE_", .certificateRefused),
        ("ALERT_UNSUPPORTED_CERTIFICATE", .certificateRefused), ("WRONG_VERSION_NUMBER", .notTLS),
        ("HTTP_REQUEST", .notTLS), ("UNSUPPORTED_PROTOCOL", .version), ("ALERT_PROTOCOL_VERSION", .version),
        ("NO_SHARED_CIPHER", .version), ("NO_COMMON_SIGNATURE_ALGORITHMS", .version),
        ("ALERT_HANDSHAKE_FAILURE", .version),
        ("EOF during handshake", .closed),
    ]

    /// Classifies an error of a connection; nil if it is not a TLS error.
    public init?(_ error: any Error) {
        if let extra = error as? NIOSSLExtraError {
            self = extra == .failedToValidateHostname || extra == .serverHostnameImpossibleToMatch ? .otherName : .other
            return
        }
        guard error is NIOSSLError || error is BoringSSLError else { return nil }
        if case NIOSSLError.uncleanShutdown = error { return nil }
        let text = "\(error)"
        self = Self.names.first { text.contains($0.part) }?.failure ?? .other
    }

    /// The remedy, for the agent's log.
    public var agentRemedy: String {
        switch self {
        case .notTLS, .closed, .timeout:
            "check that the server uses TLS (tls_certificate_file); if it does not, set SERVER_TLS=false for the agent"
        case .noCertificate: "the server requires a certificate: set CLIENT_CERTIFICATE_FILE and CLIENT_KEY_FILE"
        case .untrustedCertificate:
            "the server's certificate has expired, or its CA is not in SERVER_CA_FILE"
        case .otherName: "the server's certificate is for another name: set SERVER_NAME to a name that it contains"
        case .certificateRefused:
            """
            the server rejects CLIENT_CERTIFICATE_FILE: it has expired, or its CA is not in the server's \
            tls_client_ca_file
            """
        case .version:
            """
            the server needs TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and a signature algorithm for \
            CLIENT_KEY_FILE
            """
        case .other: "see the server's log"
        }
    }

    /// The remedy, for the server's log.
    public var serverRemedy: String {
        switch self {
        case .notTLS: "the peer does not speak TLS: set SERVER_TLS=true for the agent"
        case .noCertificate: "the agent sends no certificate: set CLIENT_CERTIFICATE_FILE and CLIENT_KEY_FILE for it"
        case .untrustedCertificate: "the agent's certificate has expired, or its CA is not in tls_client_ca_file"
        case .certificateRefused, .otherName:
            "the agent does not trust tls_certificate_file: its CA must be in the agent's SERVER_CA_FILE"
        case .closed:
            "the peer closed the connection early, as probes and load balancers do; if it is an agent, see its log"
        case .version:
            """
            the peer needs TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and a signature algorithm for \
            tls_key_file
            """
        case .timeout, .other: "see the agent's log"
        }
    }
}
