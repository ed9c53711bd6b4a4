// SPDX-License-Identifier: Apache-2.0

import Labeling

/// Who sent the most to whom, of the flows of some blocks: pairs of workloads and places. In bounded memory, whatever the
/// blocks hold, and in little time: of a block of many flows, a sample stands for all.
///
/// Each byte counts once: what a local end has sent always, what it has received only where nobody else reports that it
/// was sent, as in `WHERE direction = 'out' OR localNode = '' OR remoteNode IN ('', localNode)`.
struct Talkers: Sendable {
    /// What one side has sent to the other.
    struct Pair: Sendable {
        /// Labels of one of the workload's endpoints that sent.
        let source: EndpointLabels
        /// Labels of one of the workload's endpoints that received.
        let destination: EndpointLabels
        /// How far it went.
        let connectionClass: ConnectionClass
        /// Network bytes; there may be ``Talkers/error`` more.
        let bytes: UInt64
    }

    /// What endpoints have in common that are one line: the same workload, or pod without one, in the same place.
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

    /// So many groups are told apart; all others are one.
    private static let maximumGroups = 8192

    /// Blocks of more flows are sampled, as many times. A pair with a 400th of such a block's bytes is drawn ten times.
    private static let samples = 4096

    private var hitters = HeavyHitters()
    private var numbers: [Group: UInt32] = [:]
    /// Labels of each group's first endpoint, which keep the texts that the group is told by; at first those of all that
    /// are not told apart.
    private var groups = [EndpointLabels()]
    private var sampler = ByteSampler()

    /// Nobody has sent anything.
    init() {}

    /// The bytes of all pairs, those too that are not among ``pairs``; about so many where blocks were sampled.
    var bytes: UInt64 { hitters.total }

    /// How many bytes of a pair may be missing, whatever sampling adds or takes: at most a 400th of ``bytes``.
    var error: UInt64 { hitters.error }

    /// The pairs, in no order. Each that has more than ``error`` is there.
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

/// Draws a byte of each interval of a stream of bytes: its owner stands for the whole interval. Which one it is is left to
/// chance: at even distances, of flows that alternate and are alike, always the same would be drawn. Who has a share of the
/// bytes is drawn in that share, large amounts always.
private struct ByteSampler {
    /// The bytes of which one is drawn; 1 where all are.
    var interval: UInt64 = 1 {
        didSet {
            passed = 0
            drawTarget()
        }
    }
    private var passed: UInt64 = 0
    private var target: UInt64 = 0
    private var state: UInt64 = .random(in: 1...UInt64.max)

    /// Lets bytes of one owner go by, and returns for how many those stand that are drawn.
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
