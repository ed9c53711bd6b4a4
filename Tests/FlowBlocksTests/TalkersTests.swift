// SPDX-License-Identifier: Apache-2.0

import FlowBlocksTestKit
import FlowModel
import Labeling
import TestSupport
import Testing

@testable import FlowBlocks

/// Makes the labels of a pod on a node.
private func pod(_ name: String, on node: String, workload: String = "", zone: String = "z1") -> EndpointLabels {
    EndpointLabels([
        .cloud: "aws", .region: "r", .cluster: "main", .availabilityZone: zone, .node: node, .namespace: "shop",
        .pod: name,
        .workload: workload,
    ])
}

private func flow(
    _ local: EndpointLabels, _ remote: EndpointLabels, _ sent: UInt64, _ received: UInt64,
    _ connectionClass: ConnectionClass = .intraVPC
) -> LabeledFlow {
    labeledFlow(
        local, remote, connectionClass: connectionClass, sent: FlowCounters(packets: 1, bytes: sent),
        received: FlowCounters(packets: 1, bytes: received))
}

private func name(_ labels: EndpointLabels) -> String {
    [labels[.workload].isEmpty ? labels[.pod] : labels[.workload], labels[.availabilityZone], labels[.cloudService]]
        .filter { !$0.isEmpty }.joined(separator: "@")
}

/// Returns the bytes of each pair, by `source > destination`.
private func told(_ talkers: Talkers) -> [String: UInt64] {
    Dictionary(
        talkers.pairs.map { ("\(name($0.source)) > \(name($0.destination)) \($0.connectionClass.rawValue)", $0.bytes) },
        uniquingKeysWith: +)
}

@Suite struct TalkersTests {
    @Test("a byte that two nodes report is counted once, for its sender") func aByteCountsOnceForTheSideThatSentIt() {
        let (a, b) = (pod("a", on: "n1"), pod("b", on: "n2", zone: "z2"))
        let neighbour = pod("c", on: "n1")
        let outside = EndpointLabels([.cloud: "aws", .region: "r", .cloudService: "S3"])
        var talkers = Talkers()
        talkers.add(
            flowBlock([
                // Between nodes: both nodes report it.
                flow(a, b, 10, 7), flow(b, a, 7, 10),
                // Within a node, and to and from outside: one node reports it.
                flow(a, neighbour, 100, 20), flow(b, outside, 1_000, 3_000, .intraRegion),
                flow(outside, b, 5, 0, .intraRegion),
            ]))
        #expect(
            told(talkers) == [
                "a@z1 > b@z2 INTRA_VPC": 10, "b@z2 > a@z1 INTRA_VPC": 7, "a@z1 > c@z1 INTRA_VPC": 100,
                "c@z1 > a@z1 INTRA_VPC": 20, "b@z2 > S3 INTRA_REGION": 1_000, "S3 > b@z2 INTRA_REGION": 3_005,
            ])
        #expect(talkers.bytes == 4_142 && talkers.error == 0)
    }

    @Test("the pods of a workload are one talker in each zone") func podsOfAWorkloadAreOneInEachZone() {
        let web = (0..<10).map { pod("web-\($0)", on: "n1", workload: "Deployment/web", zone: "z\($0 % 2)") }
        let database = pod("db-0", on: "n9", zone: "z9")
        var talkers = Talkers()
        // In two blocks; the second block has new label objects.
        for _ in 0..<2 { talkers.add(flowBlock(web.map { flow($0, database, 100, 1) })) }
        talkers.add(flowBlock([flow(pod("web-99", on: "n1", workload: "Deployment/web", zone: "z0"), database, 1, 0)]))
        #expect(
            told(talkers) == [
                "Deployment/web@z0 > db-0@z9 INTRA_VPC": 1_001, "Deployment/web@z1 > db-0@z9 INTRA_VPC": 1_000,
            ])
    }

    /// More pairs than fit: the missing bytes are bounded, whatever the order.
    @Test("the heaviest pairs are reported among more pairs than fit", arguments: 0..<4 as Range<UInt64>)
    func heavyPairsAreToldAmongMany(seed: UInt64) async {
        var generator = SeededGenerator(seed: seed)
        let pods = (0..<300).map { pod("p\($0)", on: "n\($0 % 7)") }
        var talkers = Talkers()
        var exact: [String: UInt64] = [:]
        for _ in 0..<10 {
            var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
            for _ in 0..<2_000 {
                // Lower indices are more frequent.
                let one = pods[Int(300 * pow4(.random(in: 0..<1, using: &generator)))]
                let other = pods.randomElement(using: &generator) ?? one
                let (sent, received) = (
                    UInt64.random(in: 0...10_000, using: &generator), UInt64.random(in: 1...99, using: &generator)
                )
                block.append(flow(one, other, sent, received), observedAt: lastSecondOfADay)
                exact["\(name(one)) > \(name(other)) INTRA_VPC", default: 0] += sent
                if one[.node] == other[.node] {
                    exact["\(name(other)) > \(name(one)) INTRA_VPC", default: 0] += received
                }
            }
            talkers.add(block)
            await Task.yield()
        }
        let total = exact.values.reduce(0, +)
        #expect(talkers.bytes == total)
        #expect(talkers.error > 0 && talkers.error <= total / 400)
        let told = told(talkers)
        for (pair, bytes) in exact {
            let lower = told[pair] ?? 0
            if lower > bytes || bytes > lower + talkers.error { Issue.record("\(pair): \(lower) of \(bytes)") }
        }
    }

    private func pow4(_ value: Double) -> Double { value * value * value * value }

    @Test("pairs beyond the limit of names are summed in one line") func whatIsBeyondTheRoomForNamesIsOneLine() {
        let database = pod("db", on: "n1")
        var talkers = Talkers()
        for part in 0..<10 {
            talkers.add(flowBlock((0..<1_000).map { flow(pod("p\(part)-\($0)", on: "n2"), database, 1, 0) }))
        }
        talkers.add(flowBlock([flow(pod("late", on: "n2"), database, 50_000, 0)]))
        let others = told(talkers)[" > db@z1 INTRA_VPC"] ?? 0
        #expect(others > 50_000 && others < 52_000)
    }

    /// One block with more flows than ``Talkers`` reads without sampling.
    @Test("a sample represents the bytes of a large block", arguments: 0..<4 as Range<UInt64>)
    func aSampleStandsForABlockOfMany(seed: UInt64) async {
        var generator = SeededGenerator(seed: seed)
        let pods = (0..<200).map { pod("p\($0)", on: "n\($0 % 7)") }
        var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
        var exact: [String: UInt64] = [:]
        for index in 0..<50_000 {
            if index % 5_000 == 0 { await Task.yield() }
            let one = pods[Int(200 * pow4(.random(in: 0..<1, using: &generator)))]
            let other = pods[Int(200 * pow4(.random(in: 0..<1, using: &generator)))]
            // Every 1,000th flow is a thousand times as large.
            let sent = UInt64.random(in: 1...1_000, using: &generator) * (index % 1_000 == 0 ? 1_000 : 1)
            block.append(flow(one, other, sent, 500), observedAt: lastSecondOfADay)
            exact["\(name(one)) > \(name(other)) INTRA_VPC", default: 0] += sent
            if one[.node] == other[.node] { exact["\(name(other)) > \(name(one)) INTRA_VPC", default: 0] += 500 }
        }
        var talkers = Talkers()
        talkers.add(block)
        let total = Double(exact.values.reduce(0, +))
        #expect(abs(Double(talkers.bytes) / total - 1) < 0.05)
        let told = told(talkers)
        for (pair, bytes) in exact where Double(bytes) > total / 100 {
            // A pair is drawn at least 40 times, with a standard deviation of the square root of that; the tolerance is
            // five times as much.
            let difference = abs(Double(told[pair] ?? 0) - Double(bytes)) / Double(bytes)
            if difference > 0.8 { Issue.record("\(pair): \(told[pair] ?? 0) of \(bytes)") }
        }
        // The pairs that follow differ by less than the sample's deviation.
        let heaviest = exact.max { $0.value < $1.value }?.key
        let toldFirst = told.sorted { $0.value > $1.value }.prefix(6).map { Optional($0.key) }
        #expect(toldFirst.contains(heaviest))
    }

    /// Sampling at even distances would always draw the same of them.
    @Test("sampling represents flows that alternate between two pairs", arguments: [4_097, 8_192, 16_384, 20_480])
    func flowsThatAlternateAndAreAlikeAreAllDrawn(count: Int) async {
        let (a, b, c) = (pod("a", on: "n1"), pod("b", on: "n2"), pod("c", on: "n3"))
        var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
        for number in 0..<count {
            if number % 5_000 == 0 { await Task.yield() }
            block.append(flow(number % 2 == 0 ? a : b, c, 1 << 30, 1 << 30), observedAt: lastSecondOfADay)
        }
        var talkers = Talkers()
        talkers.add(block)
        let told = told(talkers)
        for pair in ["a@z1 > c@z1 INTRA_VPC", "b@z1 > c@z1 INTRA_VPC"] {
            let share = Double(told[pair] ?? 0) / (Double(count) / 2 * Double(1 << 30))
            #expect(share > 0.8 && share < 1.2, "\(pair): \(share)")
        }
    }

    @Test("a pair without sent bytes is not reported") func whoSentNothingIsToldOfNothing() async {
        let (a, b, c) = (pod("a", on: "n1"), pod("b", on: "n2"), pod("c", on: "n3"))
        var talkers = Talkers()
        talkers.add(flowBlock((0..<5_000).map { flow(a, b, UInt64(999_999 - $0), 0) }))
        let sampled = told(talkers)
        talkers.add(flowBlock([flow(c, a, 0, 700), flow(c, b, 3, 0)]))
        #expect(told(talkers) == sampled.merging(["c@z1 > b@z1 INTRA_VPC": 3]) { $1 })
    }
}
