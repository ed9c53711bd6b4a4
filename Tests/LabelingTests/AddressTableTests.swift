// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Labeling

@Suite struct AddressTableTests {
    @Test("the address table agrees with a dictionary for random operations", arguments: 0..<10)
    func itAgreesWithADictionary(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var table = AddressTable()
        var dictionary: [IPAddress: Int32] = [:]
        for step in 0..<20_000 {
            let number = UInt32.random(in: 0..<800, using: &random)
            let address =
                Bool.random(using: &random)
                ? IPAddress(v4: 0x0a00_0000 + number) : IPAddress(bits: 0xfd00 << 112 | UInt128(number) << 60)
            let value: Int32? = Int.random(in: 0..<5, using: &random) < 2 ? nil : Int32(step)
            table[address] = value
            dictionary[address] = value
        }
        #expect(table.count == dictionary.count)
        for number in 0..<800 {
            for address in [
                IPAddress(v4: 0x0a00_0000 + UInt32(number)), IPAddress(bits: 0xfd00 << 112 | UInt128(number) << 60),
            ] { #expect(table[address] == dictionary[address]) }
        }
    }

    @Test("the table has the reserved room and keeps its entries") func roomThatIsMadeIsThere() {
        var table = AddressTable()
        for number in 0..<1_000 { table[IPAddress(v4: UInt32(number))] = Int32(number) }
        #expect(!table.hasRoom(for: 5_000))
        table.makeRoom(for: 5_000)
        #expect(table.hasRoom(for: 5_000))
        for number in 0..<1_000 { #expect(table[IPAddress(v4: UInt32(number))] == Int32(number)) }
        #expect(table.count == 1_000)
    }
}
