// SPDX-License-Identifier: Apache-2.0

extension HTTPClient {
    /// How the two sides of a TLS connection are told to be who they say they are.
    public struct TLS: Equatable, Sendable {
        /// Certificates or a key in PEM form.
        public enum PEM: Equatable, Sendable {
            /// The file that holds them. It is read for every new connection.
            case file(String)
            /// The text itself.
            case bytes([UInt8])
        }

        /// Whether the server's certificate is checked against its name and the known authorities.
        public var verifiesServer: Bool
        /// The authorities that may have signed the server's certificate, and no others; nil for the system's.
        public var authorities: PEM?
        /// The client's own certificate with those between it and the authority; nil for none.
        public var certificate: PEM?
        /// The key of `certificate`.
        public var key: PEM?

        /// Makes a policy; certificates are checked unless told otherwise.
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
