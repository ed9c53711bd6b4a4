// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import FlowBlocks

@Suite struct EndpointNumbersTests {
    @Test("an endpoint keeps its number among any number of others", arguments: [1, 8, 16, 4096, 1 << 40] as [UInt])
    func aThingKeepsItsNumberHoweverManyThereAre(distance: UInt) {
        var (numbers, known): (EndpointNumbers, [UInt: UInt32]) = (EndpointNumbers(), [:])
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<20_000 {
            // Multiples of `distance` have the same lower bits, like memory addresses.
            let identity = (1 + UInt(generator.next() % 8_000)) &* distance
            let isNew = known[identity] == nil
            var wasAsked = false
            let number = numbers.number(of: identity) {
                wasAsked = true
                return UInt32(known.count)
            }
            #expect(wasAsked == isNew)
            if isNew { known[identity] = number }
            #expect(known[identity] == number)
        }
        #expect(known.count > 6_000)
        #expect(numbers.memoryBytes >= 16 * 2 * known.count)
    }
}
