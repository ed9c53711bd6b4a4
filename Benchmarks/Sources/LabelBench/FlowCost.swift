// SPDX-License-Identifier: Apache-2.0

import CProbe
import CReference
import FlowModel
import Glibc
import Labeling
import SyntheticCluster

/// Measures the cost of labelling a flow, and that of look-ups in C between the runs, as its measure.
struct FlowCost {
    private static let flowCount = 1 << 17
    /// The number of flows labelled at a time, as in the server.
    private static let flowsAtOnce = 1_024
    private static let runs = 31
    private static let second = SyntheticCluster.beginning + 1_000

    private let cluster: LabeledCluster
    private let addresses: [IPAddress]

    init(_ model: SyntheticCluster, lists: String) {
        cluster = LabeledCluster(model, now: Self.second)
        let ranges = RangeCost(lists: lists).load()
        cluster.labeler.setRanges(ranges)
        var generator = SeededGenerator(seed: 2)
        addresses = ranges.map { range in
            let first = range.prefix.network.bits
            let size = range.prefix.last.bits - first
            return IPAddress(bits: first + (size == 0 ? 0 : UInt128(generator.next()) % (size + 1)))
        }
    }

    func run() {
        let mix = FlowMix(cluster.model, publicAddresses: addresses)
        var generator = SeededGenerator(seed: 3)
        let batches = (0..<Self.flowCount / Self.flowsAtOnce).map { batch in
            let node = Int.random(in: 0..<cluster.model.nodeCount, using: &generator)
            return Batch(
                node: cluster.model.pod(node).node,
                flows: mix.flows(Self.flowsAtOnce, ofNode: node, seed: UInt64(batch)))
        }
        let scattered = mix.flows(Self.flowCount)
        let scatteredBatches = stride(from: 0, to: scattered.count, by: Self.flowsAtOnce).map { start in
            Batch(node: "", flows: Array(scattered[start..<start + Self.flowsAtOnce]))
        }
        let cost = measure(batches)
        let scatteredCost = measure(scatteredBatches)
        say(
            "BENCH labels.flow ns=\(rounded(cost.median, 0)) lowest_ns=\(rounded(cost.lowest, 0))",
            "allocations=\(cost.allocations + scatteredCost.allocations)",
            "scattered_ns=\(rounded(scatteredCost.median, 0)) lowest_scattered_ns=\(rounded(scatteredCost.lowest, 0))",
            "reference_ns=\(rounded(cost.reference, 0)) ratio=\(rounded(cost.ratio, 2))",
            "scattered_ratio=\(rounded(scatteredCost.ratio, 2))")
    }

    private struct Batch {
        let node: String
        let flows: [CompactFlow]
    }

    /// The CPU time per flow in nanoseconds, that of a look-up of the reference, how many times as long as such a look-up
    /// a flow takes, and the allocations of all flows of all runs. Medians, but for the lowest time.
    private struct Cost {
        let median, lowest, reference, ratio: Double
        let allocations: UInt64
    }

    private func measure(_ batches: [Batch]) -> Cost {
        let reference = Reference()
        var costs: [Double] = []
        var references: [Double] = []
        costs.reserveCapacity(Self.runs)
        references.reserveCapacity(Self.runs)
        // A first run makes the allocations that happen only once.
        for batch in batches { _ = label(batch.node, batch.flows) }
        let allocations = probe_allocations()
        for _ in 0..<Self.runs {
            references.append(reference.nanoseconds(lookUps: Self.flowCount))
            let before = probe_thread_cpu()
            var labeled = 0
            for batch in batches { labeled += label(batch.node, batch.flows) }
            costs.append(Double(probe_thread_cpu() - before) / Double(Self.flowCount))
            guard labeled == Self.flowCount else { complain("\(labeled) of \(Self.flowCount) flows have labels") }
        }
        let allocated = probe_allocations() - allocations
        return Cost(
            median: median(costs), lowest: costs.min() ?? 0, reference: median(references),
            ratio: median(zip(costs, references).map { $0 / $1 }), allocations: allocated)
    }

    /// Labels a batch and returns the number of flows with labels. A function of its own, for profilers.
    @inline(never)
    private func label(_ node: String, _ flows: [CompactFlow]) -> Int {
        cluster.labeler.read(observedOn: node, at: Self.second) { reader in
            var count = 0
            for flow in flows {
                if case .labeled(let labeled) = reader.label(flow.flow) {
                    count += labeled.remote.labels.identity == 0 ? 0 : 1
                }
            }
            return count
        }
    }
}
