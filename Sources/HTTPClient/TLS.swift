// SPDX-License-Identifier: Apache-2.0

extension HTTPClient {
    /// The policy by which server and client authenticate each other in a TLS connection.
    public struct TLS: Equatable, Sendable {
        /// Certificates or a key in PEM form.
        public enum PEM: Equatable, Sendable {
            /// A file, which is read again for every new connection.
            case file(String)
            /// The PEM text.
            case bytes([UInt8])
        }

        /// Whether the server's certificate is checked against its name and the known authorities.
        public var verifiesServer: Bool
        /// The only authorities trusted to sign the server's certificate; nil for the system's.
        public var authorities: PEM?
        /// The client's certificate, followed by the intermediate certificates; nil for none.
        public var certificate: PEM?
        /// The private key of `certificate`.
        public var key: PEM?

        /// Makes a policy; the server's certificate is checked by default.
        public init(
            verifiesServer: Bool = true, authorities: PEM? = nil, certificate: PEM? = nil, key: PEM? = nil
        ) {
            self.verifiesServer = verifiesServer
            self.authorities = authorities
            self.certificate = certificate
            self.key = key
        }
    }
}
