// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import Testing

@Suite struct HTTPRequestQueryTests {
    @Test(
        "all characters of a query except unreserved ones are percent-encoded",
        arguments: [
            ("", ""), ("azAZ09-._~", "azAZ09-._~"), (" +&=?#/%", "%20%2B%26%3D%3F%23%2F%25"), ("ü\n", "%C3%BC%0A"),
            ("\u{0}", "%00"),
        ])
    func everythingButUnreservedCharactersIsEncoded(text: String, encoded: String) {
        #expect(HTTPRequest.query([(text, text), ("b", "2")]) == "\(encoded)=\(encoded)&b=2")
    }
}
