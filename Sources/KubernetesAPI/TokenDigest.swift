// SPDX-License-Identifier: Apache-2.0

import CCrypto

/// The SHA-256 digest of a token, which is remembered instead of the token.
struct TokenDigest: Hashable {
    private let words: SIMD4<UInt64>

    init(_ token: String) {
        var token = token
        words = token.withUTF8 { bytes in
            withUnsafeTemporaryAllocation(byteCount: MemoryLayout<SIMD4<UInt64>>.size, alignment: 32) { digest in
                _ = SHA256(bytes.baseAddress, bytes.count, digest.baseAddress)
                return digest.load(as: SIMD4<UInt64>.self)
            }
        }
    }
}
