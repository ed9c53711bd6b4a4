// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Labeling

/// Longest-prefix matching by linear search.
private struct NaiveTable {
    private var blocks: [(network: UInt128, mask: UInt128, length: Int, isIPv4: Bool)] = []

    init(_ prefixes: [IPPrefix]) {
        for prefix in prefixes {
            let hosts = prefix.network.bits ^ prefix.last.bits
            blocks.append((prefix.network.bits, ~hosts, prefix.length, prefix.network.isIPv4))
        }
    }

    func value(for address: IPAddress) -> Int? {
        let (bits, isIPv4) = (address.bits, address.isIPv4)
        return blocks.withUnsafeBufferPointer { blocks in
            var best: (index: Int, length: Int)?
            var index = 0
            while index < blocks.count {
                let block = blocks[index]
                // Of equal blocks, the last counts. A block around all mapped addresses is no IPv4 block.
                if bits & block.mask == block.network, block.isIPv4 == isIPv4, block.length >= best?.length ?? 0 {
                    best = (index, block.length)
                }
                index += 1
            }
            return best?.index
        }
    }
}

private func table(_ prefixes: [String]) -> PrefixTable<Int> {
    PrefixTable(prefixes.enumerated().map { (prefix: prefix($1), value: $0) })
}

@Suite struct PrefixTableTests {
    @Test("the longest prefix that contains an address wins") func theSmallestBlockThatHoldsAnAddressCounts() {
        let table = table([
            "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.3.0/24", "10.1.2.128/25", "10.1.2.7/32", "fd00::/8",
            "fd00:1::/32",
        ])
        for (text, expected) in [
            ("10.9.9.9", 0), ("10.1.9.9", 1), ("10.1.2.1", 2), ("10.1.3.255", 3), ("10.1.4.0", 1), ("10.1.2.200", 4),
            ("10.1.2.7", 5), ("10.1.2.6", 2), ("10.1.2.8", 2), ("10.255.255.255", 0), ("11.0.0.0", nil),
            ("9.255.255.255", nil),
            ("fd00:1::1", 7), ("fd00:2::1", 6), ("fe00::", nil), ("::a00:1", nil),
        ] as [(String, Int?)] {
            #expect(table.value(for: address(text)) == expected, "\(text)")
        }
    }

    @Test("prefixes at the ends of the address space are found") func theEndsOfTheAddressSpaceAreLikeAllOthers() {
        let table = table(["0.0.0.0/0", "255.255.255.255/32", "128.0.0.0/1", "0.0.0.0/32", "::/0", "ffff::/16"])
        for (text, expected) in [
            ("0.0.0.0", 3), ("0.0.0.1", 0), ("127.255.255.255", 0), ("128.0.0.0", 2), ("255.255.255.254", 2),
            ("255.255.255.255", 1), ("::", 4), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 5), ("fffe::", 4),
            // IPv4-mapped addresses are IPv4 addresses.
            ("::ffff:0.0.0.0", 3), ("::fffe:0:0", 4), ("::1:0:0:0", 4),
        ] as [(String, Int?)] {
            #expect(table.value(for: address(text)) == expected, "\(text)")
        }
    }

    @Test("of a prefix that is listed twice, the last value counts")
    func ofABlockThatIsListedTwiceTheLastValueCounts() {
        let table = table(["10.0.0.0/8", "192.0.2.0/24", "10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/8"])
        #expect(table.value(for: address("10.200.0.1")) == 4)
        #expect(table.value(for: address("10.1.0.1")) == 3)
    }

    @Test("an empty table finds nothing") func anEmptyTableHasNothing() {
        #expect(table([]).value(for: address("10.0.0.1")) == nil)
        #expect(table([]).value(for: address("::1")) == nil)
        #expect(table(["10.0.0.0/8"]).value(for: address("::1")) == nil)
    }

    @Test("the index of a result is that of its entry") func anIndexIsThatOfTheEntry() {
        let table = table(["10.0.0.0/8", "fd00::/8", "10.1.0.0/16", "10.0.0.0/8"])
        #expect(table.index(for: address("10.0.0.1")) == 3)
        #expect(table.index(for: address("10.1.0.1")) == 2)
        #expect(table.index(for: address("fd00::1")) == 1)
        #expect(table.index(for: address("192.0.2.1")) == -1)
        #expect(table.index(for: address("::1")) == -1)
    }

    @Test("every look-up agrees with a linear search", arguments: [UInt64](1...4), [true, false])
    func everyLookUpIsThatOfALinearSearch(seed: UInt64, isIPv4: Bool) throws {
        var generator = SeededGenerator(seed: seed)
        let prefixes = randomPrefixes(1_000, isIPv4, &generator)
        var addresses = edges(of: prefixes[...])
        while addresses.count < 6_000 { addresses.append(random(isIPv4, &generator)) }
        let table = PrefixTable(prefixes.enumerated().map { (prefix: $1, value: $0) })
        let naive = NaiveTable(prefixes)
        let wrong = addresses.filter { table.value(for: $0) != naive.value(for: $0) }
        #expect(wrong == [])
        // The random blocks are nested deeply enough for a meaningful test.
        #expect(Set(addresses.map { table.value(for: $0) }).count > 300)
    }

    @Test("look-ups in a table of 60,000 prefixes agree with a linear search")
    func aTableAsLargeAsTheCloudsIsRightToo() {
        var generator = SeededGenerator(seed: 5)
        let prefixes = randomPrefixes(40_000, true, &generator) + randomPrefixes(20_000, false, &generator)
        let table = PrefixTable(prefixes.enumerated().map { (prefix: $1, value: $0) })
        let naive = NaiveTable(prefixes)
        let addresses =
            edges(of: prefixes.shuffled(using: &generator).prefix(100)) + (0..<100).map { random($0 < 80, &generator) }
        let wrong = addresses.filter { table.value(for: $0) != naive.value(for: $0) }
        #expect(wrong == [])
        #expect(Set(addresses.map { table.value(for: $0) }).count > 100)
    }

    /// Returns random blocks; nested, adjacent and equal blocks are more frequent than by chance.
    private func randomPrefixes(_ count: Int, _ isIPv4: Bool, _ generator: inout SeededGenerator) -> [IPPrefix] {
        var prefixes: [IPPrefix] = []
        while prefixes.count < count {
            let length = Int.random(in: 0...(isIPv4 ? 32 : 128), using: &generator)
            let around: IPAddress =
                if let other = prefixes.randomElement(using: &generator), Int.random(in: 0..<4, using: &generator) > 0 {
                    [other.network, other.last, IPAddress(bits: other.last.bits &+ 1)].randomElement(using: &generator)
                        ?? other.network
                } else {
                    random(isIPv4, &generator)
                }
            // The address after the last IPv4 address is not IPv4.
            guard around.isIPv4 == isIPv4, let prefix = IPPrefix(containing: around, length: length) else { continue }
            prefixes.append(prefix)
        }
        return prefixes
    }

    /// Returns the first and the last address of each block, and the adjacent addresses outside.
    private func edges(of prefixes: ArraySlice<IPPrefix>) -> [IPAddress] {
        prefixes.flatMap { prefix in
            [prefix.network.bits, prefix.last.bits, prefix.network.bits &- 1, prefix.last.bits &+ 1].map(
                IPAddress.init(bits:))
        }
    }

    private func random(_ isIPv4: Bool, _ generator: inout SeededGenerator) -> IPAddress {
        isIPv4
            ? IPAddress(v4: .random(in: 0...UInt32.max, using: &generator))
            : IPAddress(bits: .random(in: 0...UInt128.max, using: &generator))
    }
}
