// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import TestSupport
import Testing

@testable import FlowIngest

@Suite struct BatchMemoryTests {
    private let agent = AgentID.random()

    private func batch(_ sequence: UInt64, of agent: AgentID? = nil, on node: String = "node-a") -> BatchIdentity {
        let hello = Hello(
            protocolVersion: Hello.currentProtocolVersion, nodeName: node, agentID: agent ?? self.agent,
            softwareVersion: "test")
        return BatchIdentity(agent: AgentIdentity(hello), sequence: sequence)
    }

    @Test("a batch is new once, then held, then stored") func aBatchIsTakenOnce() {
        var memory = BatchMemory<String>()
        #expect(memory.admit(batch(1), "first") == .new)
        #expect(memory.admit(batch(1), "second") == .held)
        #expect(memory.admit(batch(1), "third") == .held)
        #expect(memory.admit(batch(1, of: .random()), "another agent's") == .new)
        #expect(memory.store(batch(1)) == ["first", "second", "third"])
        #expect(memory.admit(batch(1), "late") == .stored)
        #expect(memory.store(batch(1)) == [])
    }

    @Test("an agent id used on another node does not affect the first node's batches")
    func whoTakesAnotherNodesAgentsIDSettlesNothingOfIts() {
        var memory = BatchMemory<String>()
        for sequence in UInt64(1)...100 {
            #expect(memory.admit(batch(sequence, on: "another"), "forged") == .new)
            _ = memory.store(batch(sequence, on: "another"))
        }
        #expect(memory.admit(batch(1), "first") == .new)
    }

    @Test("a batch keeps at most four receipts however often it is sent")
    func aBatchThatComesAgainAndAgainCostsNoMore() {
        var memory = BatchMemory<Int>()
        for receipt in 0..<1000 { _ = memory.admit(batch(1), receipt) }
        #expect(memory.store(batch(1)) == [996, 997, 998, 999])
    }

    @Test("the greatest sequence number is handled like any other") func theGreatestNumberIsNoTrap() {
        var memory = BatchMemory<Int>()
        #expect(memory.admit(batch(.max), 1) == .new)
        #expect(memory.store(batch(.max)) == [1])
        #expect(memory.admit(batch(0), 1) == .new)
    }

    @Test("beyond the limit, the agents silent for longest are forgotten, except those with held batches")
    func agentsAreForgottenTheMostSilentFirst() {
        var memory = BatchMemory<Int>(maximumAgents: 100)
        let holder = AgentID.random()
        #expect(memory.admit(batch(1, of: holder), 0) == .new)
        let faithful = AgentID.random()
        for _ in 0..<10_000 {
            let passing = batch(1, of: .random())
            #expect(memory.admit(passing, 0) == .new)
            _ = memory.store(passing)
            _ = memory.store(batch(7, of: faithful))
        }
        #expect(memory.agentCount <= 101)
        #expect(memory.admit(batch(1, of: holder), 0) == .held)
        #expect(memory.admit(batch(7, of: faithful), 0) == .stored)
    }

    @Test("beyond the limit of ranges, the oldest gaps are forgotten") func gapsAreForgottenTheOldestFirst() {
        var memory = BatchMemory<Int>(maximumRanges: 4)
        for sequence in stride(from: UInt64(2), through: 20, by: 2) { _ = memory.store(batch(sequence)) }
        #expect(memory.admit(batch(12), 0) == .new)
        #expect(memory.admit(batch(14), 0) == .stored)
        #expect(memory.admit(batch(20), 0) == .stored)
    }

    /// Compares the memory with plain collections, for operations in random order.
    @Test("each receipt is settled once, in any order of operations", arguments: 0..<50)
    func whateverTheOrderEachReceiptIsSettledOnce(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var memory = BatchMemory<Int>()
        var held: [UInt64: [Int]] = [:]
        var stored: Set<UInt64> = []
        for receipt in 0..<2_000 {
            if Bool.random(using: &random) {
                let sequence = UInt64.random(in: UInt64(receipt / 20)...UInt64(receipt / 20 + 30), using: &random)
                let admission = memory.admit(batch(sequence), receipt)
                if stored.contains(sequence) {
                    #expect(admission == .stored)
                } else if held[sequence] != nil {
                    #expect(admission == .held)
                    held[sequence] = (held[sequence, default: []] + [receipt]).suffix(4)
                } else {
                    #expect(admission == .new)
                    held[sequence] = [receipt]
                }
            } else if let sequence = held.keys.sorted().randomElement(using: &random) {
                #expect(memory.store(batch(sequence)) == held.removeValue(forKey: sequence))
                stored.insert(sequence)
            }
        }
    }
}
