// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct IPAddressTextTests {
    @Test(
        "an address in canonical form is printed unchanged",
        arguments: [
            "0.0.0.0", "10.1.2.3", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1", "2001:db8:0:1:1:1:1:1",
            "fe80::1:2:3:4", "ff02::fb", "1:2:3:4:5:6:7:8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::a00:1",
        ])
    func canonicalTextComesBackUnchanged(_ text: String) throws {
        #expect(try address(text).description == text)
    }

    @Test(
        "other spellings of an address are equal to its canonical form",
        arguments: [
            ("::ffff:192.0.2.1", "192.0.2.1"), ("::FFFF:c000:201", "192.0.2.1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("2001:0db8::0001", "2001:db8::1"), ("0:0:0:0:0:0:0:0", "::"),
        ])
    func otherSpellingsOfAnAddressAreThatAddress(_ text: String, _ canonical: String) throws {
        #expect(try address(text) == address(canonical))
        #expect(try address(text).description == canonical)
    }

    @Test func bytesAreReadInNetworkOrder() throws {
        #expect(try address("10.1.2.3").v4 == 0x0a01_0203)
        #expect(try address("2001:db8::a").bits == 0x2001_0db8 << 96 | 0xa)
    }

    @Test(
        "a text that is not an address is rejected",
        arguments: [
            "", " ", " 10.0.0.1", "10.0.0.1 ", "10.0.0.1\n", "10.0.0.1\0", "10.0.0.1\0zz", "\010.0.0.1", "::1\0",
            "10.0.0",
            "10.0.0.1.2", "10.0.0.256", "10.0.0.-1", "10.0.0.01", "0x0a.0.0.1", "167772161", "10.0.0.1/32",
            "10.0.0.1:80",
            "fe80::1%eth0", "fe80::1%2", "[::1]", "::1::", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "2001:db8::g",
            "::12345", "::ffff:1.2.3", "localhost", "١٠.0.0.1", "10。0。0。1",
        ])
    func whatIsNoAddressIsRefused(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("an address is parsed from a substring") func aPartOfALongerTextIsReadAlone() {
        #expect(IPAddress("from 10.0.0.1 to 10.0.0.2".split(separator: " ")[1]) == IPAddress(v4: 0x0a00_0001))
    }

    @Test("every address is parsed back from its text") func everyAddressComesBackFromItsText() {
        for shift in 0..<128 {
            // Shifting yields runs of zeros, which the text form shortens.
            let bits = (0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835 &* UInt128(2 * shift + 1)) >> UInt128(shift)
            let v4 = IPAddress(v4: UInt32(truncatingIfNeeded: bits))
            let v6 = IPAddress(bits: bits)
            #expect(IPAddress(v4.description) == v4)
            #expect(IPAddress(v6.description) == v6)
        }
    }

    @Test("an IPv6 address with a port is in brackets") func textWithPort() {
        #expect(IPAddress("192.0.2.1")?.text(port: 443) == "192.0.2.1:443")
        #expect(IPAddress("2001:db8::1")?.text(port: 65_535) == "[2001:db8::1]:65535")
    }
}
