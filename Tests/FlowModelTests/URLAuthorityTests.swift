// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct URLAuthorityTests {
    @Test(
        "host and port are read from URLs and from host:port",
        arguments: [
            ("http://db:8123", "db", 8123), ("https://db", "db", nil), ("db:9000", "db", 9000), ("db", "db", nil),
            ("http://[2001:db8::1]:8443/path", "2001:db8::1", 8443), ("[::1]:9000", "::1", 9000), ("[::1]", "::1", nil),
            ("https://db/a:1", "db", nil), ("http://db:8123?a=b:2", "db", 8123), ("db:", "db", nil),
            ("db:x", "db", nil),
            ("", "", nil), ("http://", "", nil),
        ])
    func parts(text: String, host: String, port: Int?) {
        let authority = URLAuthority(text)
        #expect(authority.host == host && authority.port == port)
    }

    @Test("the loopback is recognized by name and address")
    func loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"] {
            #expect(URLAuthority(host: host).isLoopback, "\(host)")
        }
        for host in ["", "db", "localhost.example", "10.0.0.1", "128.0.0.1", "::2", "0.0.0.0"] {
            #expect(!URLAuthority(host: host).isLoopback, "\(host)")
        }
    }
}
