// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct IPAddressTests {
    @Test(
        "an IPv4 address is stored in its IPv4-mapped form", arguments: [UInt32(0), 1, 0x0a00_0001, 0x7f00_0001, .max])
    func anIPv4AddressIsHeldInItsMappedForm(_ bits: UInt32) {
        let address = IPAddress(v4: bits)
        #expect(address.v4 == bits)
        #expect(address.isIPv4)
        #expect(address.bits == 0xffff << 32 | UInt128(bits))
        #expect(address == IPAddress(bits: address.bits))
    }

    @Test(
        "an address outside the IPv4-mapped block is IPv6",
        arguments: [
            UInt128(0), 1, 0x0a00_0001, 0xfffe << 32, 0xffff << 33, 1 << 48, 0xffff << 32 | 1 << 127, .max,
        ])
    func otherAddressesAreIPv6(_ bits: UInt128) {
        #expect(IPAddress(bits: bits).v4 == nil)
        #expect(!IPAddress(bits: bits).isIPv4)
    }

    @Test(
        "the loopback is 127.0.0.0/8 and ::1",
        arguments: [
            ("127.0.0.0", true), ("127.0.0.1", true), ("127.255.255.255", true), ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("126.255.255.255", false), ("128.0.0.0", false), ("0.0.0.0", false), ("10.0.0.127", false), ("::", false),
            ("::2", false), ("::127.0.0.1", false), ("fe80::1", false),
        ])
    func loopbackIsWholeOf127AndOneIPv6Address(_ text: String, _ isLoopback: Bool) throws {
        #expect(try address(text).isLoopback == isLoopback)
    }

    @Test("addresses are ordered by their numeric value") func addressesAreOrderedByTheirNumber() throws {
        let ascending = try ["::", "0.0.0.0", "9.255.255.255", "10.0.0.0", "255.255.255.255", "2001:db8::", "ff02::1"]
            .map(address)
        #expect(ascending.reversed().sorted() == ascending)
    }
}

/// Returns the address of a text that must be valid.
func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text), "\(text)") }
