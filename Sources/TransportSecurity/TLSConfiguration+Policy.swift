// SPDX-License-Identifier: Apache-2.0

import NIOSSL

extension TLSConfiguration {
    /// Restricts connections to TLS 1.3, and TLS 1.2 with forward secrecy and authenticated encryption; allows all
    /// types of key that cert-manager issues.
    mutating func applyPolicy() {
        minimumTLSVersion = .tlsv12
        cipherSuites = "ECDHE+AESGCM:ECDHE+CHACHA20"
        // BoringSSL's own lists lack P-521 and Ed25519. TLS 1.2 accepts a certificate only if its curve is among
        // `curves`.
        curves = [.x25519_MLKEM768, .x25519, .secp256r1, .secp384r1, .secp521r1]
        verifySignatureAlgorithms = [
            .ecdsaSecp256R1Sha256, .ed25519, .rsaPssRsaeSha256, .rsaPkcs1Sha256,
            .ecdsaSecp384R1Sha384, .rsaPssRsaeSha384, .rsaPkcs1Sha384,
            .ecdsaSecp521R1Sha512, .rsaPssRsaeSha512, .rsaPkcs1Sha512,
        ]
    }
}
