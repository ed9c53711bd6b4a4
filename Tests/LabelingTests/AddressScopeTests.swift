// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@testable import Labeling

@Suite struct AddressScopeTests {
    /// The first and the last address of every special block, and the adjacent addresses outside.
    @Test(
        "special address blocks have exactly their registered bounds",
        arguments: [
            ("0.0.0.0", "0.255.255.255", .reserved), ("10.0.0.0", "10.255.255.255", .private),
            ("127.0.0.0", "127.255.255.255", .private), ("169.254.0.0", "169.254.255.255", .private),
            ("172.16.0.0", "172.31.255.255", .private), ("192.168.0.0", "192.168.255.255", .private),
            ("224.0.0.0", "255.255.255.255", .reserved),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .private),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .private),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .reserved), ("::", "::", .reserved),
            ("::1", "::1", .private), ("100.64.0.0", "100.127.255.255", .shared),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", .private),
        ] as [(String, String, AddressScope)])
    func specialBlocksEndWhereTheirRegistrySays(first: String, last: String, scope: AddressScope) {
        let table = PrefixTable.addressScopes(adding: [], in: "aws")
        let (first, last) = (address(first), address(last))
        #expect(table.value(for: first) == scope)
        #expect(table.value(for: last) == scope)
        for neighbour in [first.bits &- 1, last.bits &+ 1].map(IPAddress.init(bits:)) {
            // Addresses adjacent to the ends of IPv4 are not IPv4; :: and ::1 are adjacent to each other.
            guard neighbour.isIPv4 == first.isIPv4, neighbour.bits > 1, neighbour.bits < UInt128.max else { continue }
            #expect(table.value(for: neighbour) == nil, "\(neighbour)")
        }
    }

    @Test("configured private networks are private") func whatTheConfigurationAddsIsPrivate() {
        let table = PrefixTable.addressScopes(
            adding: [prefix("100.64.0.0/10"), prefix("2001:db8::/32"), prefix("240.0.0.0/8")], in: "aws")
        #expect(table.value(for: address("100.64.0.1")) == .private)
        #expect(table.value(for: address("2001:db8::1")) == .private)
        #expect(table.value(for: address("240.0.0.1")) == .private)
        #expect(table.value(for: address("241.0.0.1")) == .reserved)
    }
}
