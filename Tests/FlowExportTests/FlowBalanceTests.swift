// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import TestSupport
import Testing

@Suite struct FlowBalanceTests {
    @Test("a batch passes from the queue to the kept ones and on to the acknowledged ones")
    func wayOfABatch() {
        var balance = FlowBalance()
        let (batch, other) = (FlowAmount(flows: 3, bytes: 300), FlowAmount(flows: 1, bytes: 10))
        balance.collect(batch, of: .scrape, in: batch)
        balance.collect(other, of: .destroy, in: other)
        #expect(balance.collected == [.scrape: batch, .destroy: other] && balance.allCollected == batch + other)
        #expect(balance.queued == batch + other && balance.kept == FlowAmount())
        balance.keep(batch)
        #expect(balance.queued == other && balance.kept == batch && balance.unacknowledged == batch + other)
        balance.acknowledge(batch)
        #expect(balance.acknowledged == batch && balance.unacknowledged == other)
        #expect(balance.isBalanced)
    }

    @Test("merging takes flows and no bytes")
    func merging() {
        var balance = FlowBalance()
        let batch = FlowAmount(flows: 3, bytes: 300)
        balance.collect(batch, of: .scrape, in: batch)
        balance.keep(batch)
        balance.merge(2)
        #expect(balance.unacknowledged == FlowAmount(flows: 1, bytes: 300) && balance.mergedFlows == 2)
        #expect(balance.isBalanced)
    }

    @Test("restored batches are unacknowledged, and not collected")
    func restoring() {
        var balance = FlowBalance()
        let batches = FlowAmount(flows: 5, bytes: 70)
        balance.restore(batches)
        #expect(balance.restored == batches && balance.unacknowledged == batches && balance.collected.isEmpty)
        balance.acknowledge(batches)
        #expect(balance.unacknowledged == FlowAmount() && balance.isBalanced)
    }

    @Test("lost flows are counted by reason, and are no part of the others")
    func losses() {
        var balance = FlowBalance()
        for reason in FlowLoss.allCases { balance.lose(FlowAmount(flows: 1, bytes: 10), to: reason) }
        balance.lose(FlowAmount(flows: 2, bytes: 5), to: .noRoom)
        let lost: [FlowLoss: FlowAmount] = [
            .noRoom: FlowAmount(flows: 3, bytes: 15), .noRoomToRestore: FlowAmount(flows: 1, bytes: 10),
            .corruption: FlowAmount(flows: 1, bytes: 10),
        ]
        #expect(balance.lost == lost && balance.allLost == FlowAmount(flows: 5, bytes: 35))
        balance.lost = [:]
        #expect(balance == FlowBalance())
    }

    @Test("a batch that reports other amounts than were put into it shows in the balance")
    func unequalBatch() {
        var balance = FlowBalance()
        balance.collect(FlowAmount(flows: 2, bytes: 20), of: .scrape, in: FlowAmount(flows: 2, bytes: 10))
        #expect(!balance.isBalanced)
        balance = FlowBalance()
        balance.collect(FlowAmount(flows: 2, bytes: 20), of: .scrape, in: FlowAmount(flows: 1, bytes: 20))
        #expect(!balance.isBalanced)
    }

    @Test("any order of changes leaves the balance balanced", arguments: 0..<20)
    func anyOrder(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var balance = FlowBalance()
        var (queued, kept): ([FlowAmount], [FlowAmount]) = ([], [])
        for _ in 0..<500 {
            let amount = FlowAmount(
                flows: .random(in: 1...1_000, using: &generator), bytes: .random(in: 0...(.max), using: &generator))
            switch Int.random(in: 0..<6, using: &generator) {
            case 0, 1:
                balance.collect(amount, of: Bool.random(using: &generator) ? .scrape : .destroy, in: amount)
                queued.append(amount)
            case 2 where !queued.isEmpty:
                let batch = queued.removeFirst()
                balance.keep(batch)
                kept.append(batch)
            case 3 where (kept.last?.flows ?? 0) > 1:
                balance.merge(1)
                kept[kept.count - 1].flows -= 1
            case 4 where !kept.isEmpty:
                balance.acknowledge(kept.remove(at: .random(in: 0..<kept.count, using: &generator)))
            default:
                balance.restore(amount)
                kept.append(amount)
            }
            #expect(balance.isBalanced)
            #expect(balance.unacknowledged == (queued + kept).reduce(FlowAmount(), +))
        }
    }
}
