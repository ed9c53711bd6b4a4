// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

@Suite struct IPPrefixTests {
    /// A block, its highest address, addresses inside it, and addresses outside.
    struct Block: CustomTestStringConvertible {
        let text: String
        let last: String
        let inside: [String]
        let outside: [String]

        var testDescription: String { text }
    }

    static let blocks = [
        Block(
            text: "0.0.0.0/0", last: "255.255.255.255", inside: ["0.0.0.0", "10.0.0.1", "255.255.255.255"],
            outside: ["::", "::1", "2001:db8::1", "::1:0:0:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        Block(
            text: "128.0.0.0/1", last: "255.255.255.255", inside: ["128.0.0.0", "200.1.2.3"],
            outside: ["127.255.255.255", "8000::"]),
        Block(
            text: "10.0.0.0/8", last: "10.255.255.255", inside: ["10.0.0.0", "10.7.7.7", "::ffff:10.0.0.1"],
            outside: ["9.255.255.255", "11.0.0.0", "::a00:1", "a00::"]),
        Block(
            text: "100.64.0.0/10", last: "100.127.255.255", inside: ["100.64.0.0", "100.127.255.255"],
            outside: ["100.63.255.255", "100.128.0.0"]),
        Block(
            text: "192.0.2.6/31", last: "192.0.2.7", inside: ["192.0.2.6", "192.0.2.7"],
            outside: ["192.0.2.5", "192.0.2.8"]),
        Block(
            text: "192.0.2.1/32", last: "192.0.2.1", inside: ["192.0.2.1"],
            outside: ["192.0.2.0", "192.0.2.2", "::c000:201"]),
        Block(
            text: "255.255.255.255/32", last: "255.255.255.255", inside: ["255.255.255.255"],
            outside: ["255.255.255.254", "0.0.0.0"]),
        Block(
            text: "::/0", last: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            inside: ["::", "::1", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            outside: ["0.0.0.0", "10.0.0.1", "255.255.255.255"]),
        Block(
            text: "::/64", last: "::ffff:ffff:ffff:ffff", inside: ["::", "::1", "::fffe:0:0"],
            outside: ["10.0.0.1", "0:0:0:1::"]),
        Block(
            text: "2001:db8::/32", last: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            inside: ["2001:db8::", "2001:db8:1:2:3:4:5:6"],
            outside: ["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "32.1.13.184"]),
        Block(
            text: "fe80::/10", last: "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", inside: ["fe80::1", "febf::"],
            outside: ["fec0::", "fe7f::"]),
        Block(text: "::1/128", last: "::1", inside: ["::1"], outside: ["::", "::2", "0.0.0.1", "127.0.0.1"]),
    ]

    @Test("a prefix contains the addresses that share its leading bits", arguments: blocks)
    func aBlockHoldsWhatSharesItsLeadingBits(_ block: Block) throws {
        let prefix = try prefix(block.text)
        #expect(prefix.last == (try address(block.last)))
        #expect(prefix.contains(prefix.network) && prefix.contains(prefix.last))
        for text in block.inside { #expect(prefix.contains(try address(text)), "\(text)") }
        for text in block.outside { #expect(!prefix.contains(try address(text)), "\(text)") }
    }

    @Test("a prefix is printed as it was parsed", arguments: blocks)
    func textComesBackUnchanged(_ block: Block) throws {
        #expect(try prefix(block.text).description == block.text)
    }

    @Test("an IPv4-mapped prefix equals its IPv4 form") func aMappedBlockIsWrittenAsIPv4() throws {
        #expect(try prefix("::ffff:10.0.0.0/8") == prefix("10.0.0.0/8"))
    }

    @Test(
        "a text that is not a prefix is rejected",
        arguments: [
            "10.0.0.1/8", "10.0.0.128/24", "255.255.255.255/0", "2001:db8::1/32", "::1/0", "10.0.0.0/+8", "10.0.0.0/08",
            "10.0.0.0/-8", "10.0.0.0/ 8", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0 /8", "10.0.0.0/33", "10.0.0.0/128",
            "10.0.0.0/256", "10.0.0.0/4294967304", "::/129", "10.0.0.0", "2001:db8::", "10.0.0.0/", "/8", "/", "",
            "10.0.0.0/8/8", "10.0.0.0//8", "10.0.0.0/255.0.0.0", "10.0.0.0/0x8", "10/8", "10.0.0.0/8\0", "10.0.0.0\0/8",
            "fe80::%eth0/10", "::ffff:0:0/96", "pods/8", "10.0.0.0/٨",
        ])
    func whatIsNoBlockIsRefused(_ text: String) {
        #expect(IPPrefix(text) == nil)
    }

    @Test("the prefix around an address has its host bits cleared")
    func theBlockAroundAnAddressHasItsHostBitsCleared() throws {
        #expect(try IPPrefix(containing: address("10.1.2.3"), length: 12) == prefix("10.0.0.0/12"))
        #expect(try IPPrefix(containing: address("10.1.2.3"), length: 0) == prefix("0.0.0.0/0"))
        #expect(try IPPrefix(containing: address("2001:db8::ffff"), length: 113) == prefix("2001:db8::8000/113"))
    }

    @Test(
        "a prefix length beyond the address family's is rejected",
        arguments: [("10.0.0.1", 33), ("10.0.0.1", -1), ("::1", 129), ("::1", -1), ("::1", .max)])
    func aLengthThatTheFamilyDoesNotHaveIsRefused(_ text: String, _ length: Int) throws {
        #expect(try IPPrefix(containing: address(text), length: length) == nil)
    }

    @Test("a prefix of every length contains its first and last address and neither neighbour")
    func everyLengthOfBothFamiliesCoversItsBlockAndNothingBesideIt() throws {
        for (text, longest) in [("170.85.170.85", 32), ("5555:aaaa:5555:aaaa:5555:aaaa:5555:aaaa", 128)] {
            let address = try address(text)
            for length in 0...longest {
                let prefix = try #require(IPPrefix(containing: address, length: length))
                #expect(prefix.contains(address) && prefix.contains(prefix.network) && prefix.contains(prefix.last))
                #expect(IPPrefix(prefix.description) == prefix)
                guard length > 0 else { continue }
                #expect(!prefix.contains(IPAddress(bits: prefix.network.bits &- 1)), "\(prefix)")
                #expect(!prefix.contains(IPAddress(bits: prefix.last.bits &+ 1)), "\(prefix)")
            }
        }
    }

    private func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text), "\(text)") }
}
