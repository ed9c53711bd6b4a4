// SPDX-License-Identifier: Apache-2.0

/// Fields of a certificate (RFC 5280, section 4.1) that NIOSSL does not expose.
struct CertificateFields {
    /// Whether subject and issuer are the same, as in a root certificate.
    let isSelfIssued: Bool
    /// Whether the certificate may issue others: its extension basicConstraints says `CA:TRUE`.
    let isAuthority: Bool
    /// Whether TLS 1.2 and 1.3 have a signature algorithm for the key.
    let hasSupportedKey: Bool

    /// The keys that ``hasSupportedKey`` accepts, for error messages.
    static let supportedKeys = "RSA, ECDSA (P-256, P-384, P-521) or Ed25519"

    private static let idEcPublicKey: [UInt8] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]
    /// AlgorithmIdentifiers of RFC 3279, RFC 5480 and RFC 8410, each without its outermost tag and length.
    private static let supportedKeyAlgorithms: [[UInt8]] = [
        [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00],
        idEcPublicKey + [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        idEcPublicKey + [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        idEcPublicKey + [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        [0x06, 0x03, 0x2b, 0x65, 0x70],
    ]
    private static let basicConstraints: [UInt8] = [0x55, 0x1d, 0x13]

    /// Reads the DER encoding of a certificate; nil if it is not one.
    init?(der: [UInt8]) {
        var certificate = DERReader(der[...])
        guard let body = certificate.next()?.content.firstElement else { return nil }
        var fields = DERReader(body.content)
        var field = fields.next()
        // A certificate of version 1 omits its version.
        if field?.tag == Tag.version { field = fields.next() }
        // `field` is the serial number; the signature algorithm follows, and the validity comes before the subject.
        guard field != nil, fields.next() != nil, let issuer = fields.next(), fields.next() != nil,
            let subject = fields.next(), let key = fields.next()?.content.firstElement
        else { return nil }
        isSelfIssued = issuer.encoding == subject.encoding
        hasSupportedKey = Self.supportedKeyAlgorithms.contains { $0[...] == key.content }
        isAuthority = Self.isAuthority(fields)
    }

    private enum Tag {
        static let boolean: UInt8 = 0x01
        static let octetString: UInt8 = 0x04
        static let version: UInt8 = 0xa0
        static let extensions: UInt8 = 0xa3
    }

    /// Whether the extensions, which follow the key, include `basicConstraints` with `CA:TRUE`.
    private static func isAuthority(_ fields: DERReader) -> Bool {
        var fields = fields
        while let field = fields.next() {
            guard field.tag == Tag.extensions, let list = field.content.firstElement else { continue }
            var extensions = DERReader(list.content)
            while let element = extensions.next() {
                var parts = DERReader(element.content)
                guard parts.next()?.content == basicConstraints[...] else { continue }
                // The optional flag `critical` comes before the value.
                var value = parts.next()
                if value?.tag == Tag.boolean { value = parts.next() }
                guard value?.tag == Tag.octetString, let flag = value?.content.firstElement?.content.firstElement
                else { return false }
                return flag.tag == Tag.boolean && flag.content.first == 0xff
            }
        }
        return false
    }
}

extension ArraySlice<UInt8> {
    fileprivate var firstElement: DERReader.Element? {
        var reader = DERReader(self)
        return reader.next()
    }
}
