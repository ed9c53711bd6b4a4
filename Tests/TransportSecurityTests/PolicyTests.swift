// SPDX-License-Identifier: Apache-2.0

import NIOSSL
import Testing

@testable import TransportSecurity

@Suite struct PolicyTests {
    @Test("TLS before 1.2 is not accepted, whatever the ciphers")
    func minimumVersion() {
        var client = TLSConfiguration.makeClientConfiguration()
        client.minimumTLSVersion = .tlsv1
        client.applyPolicy()
        #expect(client.minimumTLSVersion == .tlsv12)
    }
}
