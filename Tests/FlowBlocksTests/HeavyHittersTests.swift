// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import FlowBlocks

@Suite struct HeavyHittersTests {
    @Test("the weights of keys within the capacity are exact") func fewKeysAreExact() {
        var hitters = HeavyHitters()
        for round in 1...3 {
            for key in 1..<UInt64(HeavyHitters.capacity) { hitters.add(key * UInt64(round), to: key) }
        }
        #expect(hitters.error == 0)
        let weights = Dictionary(hitters.entries.map { ($0.key, $0.weight) }) { _, _ in 0 }
        #expect(weights.count == HeavyHitters.capacity - 1)
        #expect(weights.allSatisfy { $0.value == 6 * $0.key })
    }

    /// Streams of many shapes: equal and unequal weights, few keys and many, keys in order and at random, and weights
    /// at both ends of their range.
    @Test("every heavy key is present, and no weight is overestimated", arguments: 0..<40 as Range<UInt64>)
    func whatIsHeavyIsThereAndNothingIsToldTooHeavy(seed: UInt64) async {
        var generator = SeededGenerator(seed: seed)
        var hitters = HeavyHitters()
        var exact: [UInt64: UInt64] = [:]
        let keys = [2_100, 5_000, 50_000, 10_000_000].randomElement(using: &generator) ?? 0
        let greatest = UInt64([1, 3, 10, 10_000, 1 << 40].randomElement(using: &generator) ?? 1)
        let isInTurn = Bool.random(using: &generator)
        for index in 0..<UInt64(20_000) {
            if index % 10_000 == 0 { await Task.yield() }
            var key = isInTurn ? index % UInt64(keys) + 1 : .random(in: 1...UInt64(keys), using: &generator)
            // Every 50th weight goes to one of ten heavy keys.
            if index % 50 == 0 { key = 1 << 63 | index / 50 % 10 }
            let weight = UInt64.random(in: 1...greatest, using: &generator)
            exact[key, default: 0] += weight
            hitters.add(weight, to: key)
        }
        let total = exact.values.reduce(0, +)
        #expect(hitters.total == total)
        #expect(hitters.error <= total * 5 / UInt64(HeavyHitters.capacity))
        let entries = hitters.entries
        #expect(entries.count <= HeavyHitters.capacity)
        let told = Dictionary(entries.map { ($0.key, $0.weight) }) { _, _ in .max }
        for (key, weight) in exact {
            let lower = told[key] ?? 0
            if lower > weight || weight > lower + hitters.error { Issue.record("\(key): \(lower) of \(weight)") }
            if weight > hitters.error { #expect(lower > 0) }
        }
        #expect(told.keys.allSatisfy { exact[$0] != nil })
    }

    @Test("entries are evicted within the error bound for weights of any size") func weightsOfAllSizesMakeRoom() {
        for shift in 0..<54 as Range<UInt64> {
            var hitters = HeavyHitters()
            for key in 1...UInt64(HeavyHitters.capacity) { hitters.add(1 << shift, to: key) }
            #expect(hitters.entries.count <= HeavyHitters.capacity / 4)
            #expect(hitters.error >= 1 << shift && hitters.error <= (1 << shift) * 5 / 4)
        }
    }
}
