// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Labeling

/// Top talkers of the flows of some blocks: pairs of workloads and places. Memory is bounded whatever the blocks
/// contain, and so is time: a block of many flows is sampled.
///
/// Each byte counts once: bytes sent by a local end always, bytes that it received only if no other node reports them
/// as sent, as in `WHERE direction = 'out' OR localNode = '' OR remoteNode IN ('', localNode)`.
struct Talkers: Sendable {
    /// Traffic from one group of endpoints to another.
    struct Pair: Sendable {
        /// The labels of one endpoint of the sending workload.
        let source: EndpointLabels
        /// The labels of one endpoint of the receiving workload.
        let destination: EndpointLabels
        /// The class of the connections.
        let connectionClass: ConnectionClass
        /// Network bytes; the true number may be up to ``Talkers/error`` higher.
        let bytes: UInt64
    }

    /// The labels shared by endpoints that are reported as one: the same workload, or pod without a workload, in the
    /// same place.
    private struct Group: Hashable {
        let namespace: LabelID
        let name: LabelID
        let zone: LabelID
        let cloud: LabelID
        let region: LabelID
        let service: LabelID

        init(_ labels: EndpointLabels) {
            namespace = labels.id(of: .namespace)
            let named = [Label.workload, .pod, .node].lazy.map { labels.id(of: $0) }
            name = named.first { $0 != .empty } ?? .empty
            zone = labels.id(of: .availabilityZone)
            cloud = labels.id(of: .cloud)
            region = labels.id(of: .region)
            service = labels.id(of: .cloudService)
        }
    }

    /// The maximum number of distinct groups; all others count as one.
    private static let maximumGroups = 8192

    /// Blocks of more flows are sampled, this many times. A pair with a 400th of such a block's bytes is drawn ten
    /// times.
    private static let samples = 4096

    private var hitters = HeavyHitters()
    private var numbers: [Group: UInt32] = [:]
    /// The labels of each group's first endpoint, which retain the texts that the group is reported with; the first
    /// entry stands for all groups beyond the maximum.
    private var groups = [EndpointLabels()]
    private var sampler = ByteSampler()

    /// Makes an empty summary.
    init() {}

    /// The bytes of all pairs, including those that are not in ``pairs``; an estimate if blocks were sampled.
    var bytes: UInt64 { hitters.total }

    /// The maximum number of bytes missing from a pair, without the error of sampling: at most a 400th of ``bytes``.
    var error: UInt64 { hitters.error }

    /// The pairs, in no order. Each pair with more than ``error`` bytes is present.
    var pairs: [Pair] {
        hitters.entries.map { key, bytes in
            Pair(
                source: groups[Int(key >> 32)], destination: groups[Int(key >> 8 & 0xff_ffff)],
                connectionClass: ConnectionClass.allCases[Int(key & 0xff) - 1], bytes: bytes)
        }
    }

    /// Adds a block's flows.
    mutating func add(_ block: FlowBlock) {
        let ends = block.memory.endpoints.map { (group: UInt64(number(of: $0)), node: $0.id(of: .node)) }
        sampler.interval =
            block.memory.records.count <= Self.samples ? 1 : max(1, block.reportedBytes / UInt64(Self.samples))
        for record in block.memory.records {
            let (sent, received) = (sampler.draw(record.sentBytes), sampler.draw(record.receivedBytes))
            guard sent > 0 || received > 0 else { continue }
            let (local, remote) = (ends[Int(record.local.labels)], ends[Int(record.remote.labels)])
            let form = UInt64(record.connectionClass) + 1
            if sent > 0 { hitters.add(sent, to: local.group << 32 | remote.group << 8 | form) }
            let isToldOnce = local.node == .empty || remote.node == .empty || remote.node == local.node
            if received > 0, isToldOnce { hitters.add(received, to: remote.group << 32 | local.group << 8 | form) }
        }
    }

    private mutating func number(of labels: EndpointLabels) -> UInt32 {
        let group = Group(labels)
        if let number = numbers[group] { return number }
        guard groups.count < Self.maximumGroups else { return 0 }
        let number = UInt32(groups.count)
        groups.append(labels)
        numbers[group] = number
        return number
    }
}

/// Draws one byte of each interval of a stream of bytes; its owner is credited with the whole interval. The byte's
/// position is random: at even distances, a stream of alternating, similar flows would always yield the same flow. An
/// owner is drawn in proportion to its share of the bytes; large amounts are always drawn.
private struct ByteSampler {
    /// The number of bytes of which one is drawn; 1 if all are.
    var interval: UInt64 = 1 {
        didSet {
            passed = 0
            drawTarget()
        }
    }
    private var passed: UInt64 = 0
    private var target: UInt64 = 0
    private var state: UInt64 = .random(in: 1...UInt64.max)

    /// Advances the stream by the bytes of one owner, and returns the number of bytes to credit it with.
    mutating func draw(_ bytes: UInt64) -> UInt64 {
        let isBeforeTarget = passed <= target
        let rest = interval - passed
        guard bytes >= rest else {
            passed += bytes
            return isBeforeTarget && target < passed ? interval : 0
        }
        let (whole, part) = (bytes - rest).quotientAndRemainder(dividingBy: interval)
        passed = part
        drawTarget()
        let intervals = whole + (isBeforeTarget ? 1 : 0) + (target < part ? 1 : 0)
        return intervals.multipliedReportingOverflow(by: interval).overflow ? .max : intervals * interval
    }

    private mutating func drawTarget() {
        guard interval > 1 else { return target = 0 }
        // Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        target = state.multipliedFullWidth(by: interval).high
    }
}
