// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Conntrack

/// Returns the types and payloads of a run of attributes, and whether the run is malformed.
private func walk(_ bytes: [UInt8]) -> (types: [Int], payloads: [[UInt8]], isMalformed: Bool) {
    GuardedBytes().lend(bytes) { bytes in
        var attributes = NetlinkAttributes(bytes)
        var (types, payloads): ([Int], [[UInt8]]) = ([], [])
        while let attribute = attributes.next() {
            types.append(attribute.type)
            payloads.append(Array(attribute.payload))
        }
        return (types, payloads, attributes.isMalformed)
    }
}

@Suite struct NetlinkAttributeTests {
    @Test("attributes begin at multiples of four bytes, and the last needs no padding")
    func attributesBeginAtMultiplesOfFourAndTheLastNeedsNoPadding() {
        // Types 1, 2 with NLA_F_NESTED, and 3 with NLA_F_NET_BYTEORDER.
        let run = walk([5, 0, 1, 0, 0xaa, 0, 0, 0, 4, 0, 2, 0x80, 7, 0, 3, 0x40, 1, 2, 3])
        #expect(run.types == [1, 2, 3])
        #expect(run.payloads == [[0xaa], [], [1, 2, 3]])
        #expect(!run.isMalformed)
        #expect(!walk([]).isMalformed)
    }

    @Test(
        "iteration stops at an attribute whose length exceeds the buffer",
        arguments: [
            [8, 0, 1], [3, 0, 1, 0], [0, 0, 1, 0], [9, 0, 1, 0, 1, 2, 3, 4], [0xff, 0xff, 1, 0, 1, 2, 3, 4],
        ] as [[UInt8]])
    func aRunEndsWhereALengthPointsOutside(bytes: [UInt8]) {
        let run = walk([5, 0, 7, 0, 0xaa, 0, 0, 0] + bytes)
        #expect(run.types == [7])
        #expect(run.isMalformed)
    }

    @Test("a number is read in network byte order and only at its exact size")
    func aNumberIsInNetworkOrderAndOfItsExactSize() throws {
        try GuardedBytes().lend([7, 0, 1, 0, 1, 2, 3]) { bytes in
            var attributes = NetlinkAttributes(bytes)
            let attribute = attributes.next()
            let three = try #require(attribute)
            #expect(three.number(as: UInt16.self) == nil)
            #expect(three.number(as: UInt32.self) == nil)
        }
        try GuardedBytes().lend([6, 0, 1, 0, 1, 2]) { bytes in
            var attributes = NetlinkAttributes(bytes)
            let attribute = attributes.next()
            let two = try #require(attribute)
            #expect(two.number(as: UInt16.self) == 0x0102)
            #expect(two.number(as: UInt8.self) == nil)
        }
    }
}
