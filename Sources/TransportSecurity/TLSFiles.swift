// SPDX-License-Identifier: Apache-2.0

import NIOSSL
public import Secrets

/// The credentials of one side of a TLS connection: files in PEM form, which may change at any time.
public struct TLSFiles: Equatable, Sendable {
    /// This side's certificate and those between it and the authority; nil for none, which only a client may have.
    public var certificate: String?
    /// The key of `certificate`.
    public var key: String?
    /// The authorities that must have signed the peer's certificate. If nil, a client trusts the system's authorities,
    /// and a server requests no certificate.
    public var authorities: String?

    /// Names the files.
    public init(certificate: String? = nil, key: String? = nil, authorities: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.authorities = authorities
    }

    /// Reads the files, which blocks, and throws if no connection could be opened with them; keeps nothing.
    public func check(isServer: Bool) throws(CredentialError) { _ = try context(of: read(), isServer: isServer) }

    /// The bytes of the files at one moment.
    struct Contents: Equatable {
        var certificate: [UInt8]?
        var key: [UInt8]?
        var authorities: [UInt8]?
    }

    /// Reads all files until two reads agree, at most four times: files that are being replaced may pair a certificate
    /// with the key of another.
    func read() throws(CredentialError) -> Contents {
        var last = try readOnce()
        for _ in 0..<3 {
            let next = try readOnce()
            if next == last { break }
            last = next
        }
        return last
    }

    private func readOnce() throws(CredentialError) -> Contents {
        var contents = Contents()
        if let certificate { contents.certificate = try SecretFile.read(certificate) }
        if let key { contents.key = try SecretFile.read(key) }
        if let authorities { contents.authorities = try SecretFile.read(authorities) }
        return contents
    }

    /// Makes the context for new connections from the files' bytes, and returns when this side's certificate expires,
    /// in seconds since the Unix epoch.
    func context(
        of contents: Contents, isServer: Bool
    ) throws(CredentialError) -> (context: NIOSSLContext, notValidAfter: Int?) {
        var chain: [NIOSSLCertificate] = []
        var privateKey: NIOSSLPrivateKey?
        if let bytes = contents.certificate, let path = certificate {
            chain = try Self.certificates(bytes, path)
            for certificate in chain { _ = try Self.supported(certificate, path) }
        }
        if let bytes = contents.key, let path = key {
            guard let parsed = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else {
                throw CredentialError(
                    """
                    \(path) holds no usable private key: it must be in PEM form, without a password, and \
                    \(CertificateFields.supportedKeys)
                    """)
            }
            privateKey = parsed
        }
        var configuration = TLSConfiguration.makeClientConfiguration()
        if isServer {
            guard let privateKey, !chain.isEmpty else {
                throw CredentialError("a server needs a certificate and its key")
            }
            configuration = .makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        } else if let privateKey {
            configuration.certificateChain = chain.map { .certificate($0) }
            configuration.privateKey = .privateKey(privateKey)
        }
        configuration.applyPolicy()
        if let bytes = contents.authorities, let path = authorities {
            configuration.trustRoots = .certificates(try Self.anchors(bytes, path))
            // A client's certificate must match the authority only; a server's must match its name too.
            configuration.certificateVerification = isServer ? .noHostnameVerification : .fullVerification
        }
        do {
            return (try NIOSSLContext(configuration: configuration), chain.first.map { Int($0.notValidAfter) })
        } catch {
            throw CredentialError(
                "\(certificate ?? "the certificate") and \(key ?? "the key") do not match: \(error)")
        }
    }

    /// Reads the certificates at which chains may end. A certificate that may not issue others is rejected, unless it
    /// is self-issued.
    ///
    /// Unusable certificates in a bundle, such as a leaf before its issuer, are skipped if another one is usable.
    private static func anchors(_ bytes: [UInt8], _ path: String) throws(CredentialError) -> [NIOSSLCertificate] {
        var anchors: [NIOSSLCertificate] = []
        var problem: CredentialError?
        for certificate in try certificates(bytes, path) {
            do throws(CredentialError) {
                let (der, fields) = try supported(certificate, path)
                guard fields.isAuthority || fields.isSelfIssued,
                    let anchor = try? NIOSSLCertificate.trustAnchor(der: der)
                else {
                    throw CredentialError(
                        """
                        \(path) must hold CA certificates, and this certificate is not one: \(certificate); replace it \
                        with its issuer's
                        """)
                }
                anchors.append(anchor)
            } catch {
                problem = problem ?? error
            }
        }
        if anchors.isEmpty, let problem { throw problem }
        return anchors
    }

    private static func certificates(_ bytes: [UInt8], _ path: String) throws(CredentialError) -> [NIOSSLCertificate] {
        guard let certificates = try? NIOSSLCertificate.fromPEMBytes(bytes), !certificates.isEmpty else {
            throw CredentialError("\(path) holds no certificate in PEM form")
        }
        return certificates
    }

    /// Returns a certificate's encoding and fields; throws if no handshake could use its key.
    private static func supported(
        _ certificate: NIOSSLCertificate, _ path: String
    ) throws(CredentialError) -> (der: [UInt8], fields: CertificateFields) {
        guard let der = try? certificate.toDERBytes(), let fields = CertificateFields(der: der), fields.hasSupportedKey
        else {
            throw CredentialError(
                """
                \(path) holds a certificate with an unsupported key: \(certificate); issue it for a key that is \
                \(CertificateFields.supportedKeys)
                """)
        }
        return (der, fields)
    }
}
