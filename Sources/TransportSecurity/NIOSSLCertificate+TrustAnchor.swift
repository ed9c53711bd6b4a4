// SPDX-License-Identifier: Apache-2.0

import NIOSSL

extension NIOSSLCertificate {
    /// Returns the certificate as a trust anchor, at which chains may end even if it is not self-signed, such as the
    /// intermediate authority of a cert-manager issuer.
    ///
    /// NIOSSL does not expose BoringSSL's flag for all of a context's anchors (`X509_V_FLAG_PARTIAL_CHAIN`). It does
    /// read OpenSSL's PEM form `TRUSTED CERTIFICATE`: a certificate followed by the purposes for which it is trusted.
    static func trustAnchor(der: [UInt8]) throws -> NIOSSLCertificate {
        let lines = (der + trustedPurposes).base64Lines
        let pem = "-----BEGIN TRUSTED CERTIFICATE-----\n\(lines)-----END TRUSTED CERTIFICATE-----\n"
        guard let anchor = try fromPEMBytes(Array(pem.utf8)).first else { throw NIOSSLError.failedToLoadCertificate }
        return anchor
    }

    /// An `X509_CERT_AUX` that trusts id-kp-serverAuth and id-kp-clientAuth
    /// (https://docs.openssl.org/3.0/man1/openssl-x509/#trust-options).
    private static let trustedPurposes: [UInt8] = [
        0x30, 0x16, 0x30, 0x14,
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01,
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
    ]
}

extension [UInt8] {
    /// The bytes in base64, in lines of 64 characters (RFC 7468).
    fileprivate var base64Lines: String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: count, by: 3) {
            let group = self[start..<Swift.min(start + 3, count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for position in 0...3 {
                text.append(position <= group.count ? alphabet[bits >> (18 - 6 * position) & 0x3f] : UInt8(ascii: "="))
            }
            if start % 48 == 45 { text.append(UInt8(ascii: "\n")) }
        }
        if text.last != UInt8(ascii: "\n") { text.append(UInt8(ascii: "\n")) }
        return String(decoding: text, as: UTF8.self)
    }
}
