// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FlowExport

@Suite struct CRC32CTests {
    /// RFC 3720, appendix B.4, and the check value of the Rocksoft catalogue.
    private static let vectors: [([UInt8], UInt32)] = [
        ([UInt8](repeating: 0, count: 32), 0x8a91_36aa), ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
        ([UInt8](0..<32), 0x46dd_794e), ([UInt8]((0..<32).reversed()), 0x113f_db5c),
        ([UInt8]("123456789".utf8), 0xe306_9283), ([], 0),
    ]

    @Test("checksums are those of RFC 3720", arguments: vectors)
    func checksums(_ bytes: [UInt8], _ expected: UInt32) {
        var (whole, parts) = (CRC32C(), CRC32C())
        bytes.withUnsafeBytes { whole.append($0) }
        for byte in bytes { withUnsafeBytes(of: byte) { parts.append($0) } }
        #expect(whole.value == expected && parts.value == expected)
    }
}
