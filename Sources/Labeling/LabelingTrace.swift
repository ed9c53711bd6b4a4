// SPDX-License-Identifier: Apache-2.0

/// An end of a flow as it was opened.
enum FlowEnd: Sendable {
    case source
    case destination
}

/// The rule by which an end of a flow counts as local.
enum LocalEndRule: CaseIterable, Sendable {
    /// The end is the observing node or runs on it.
    case onThisNode
    /// Only the other end is a pod or node, and it is elsewhere.
    case otherEndElsewhere
    /// Both ends are on other nodes, and the observing node has replaced both addresses.
    case translatedHere
    /// The end is a service's address, from which pods of the observing node may send.
    case serviceAddress
    /// Neither end is a pod or node, and the end may be behind the observing node.
    case behindThisNode
    /// No rule applies; the source stands in.
    case undecided
}

/// A recipient of the decisions that ``LabelReader`` takes while it labels a flow.
protocol LabelingTrace {
    /// Records the local end.
    mutating func recordLocalEnd(_ end: FlowEnd, by rule: LocalEndRule)
    /// Records that the local end is a service's address, and that it gets the labels of the only pod of the observing
    /// node behind the service.
    mutating func recordPodBehindService()
}

/// The trace of flows whose decisions nothing asks for; the optimizer leaves nothing of it.
struct NoTrace: LabelingTrace {
    @inline(__always)
    mutating func recordLocalEnd(_ end: FlowEnd, by rule: LocalEndRule) {}
    @inline(__always)
    mutating func recordPodBehindService() {}
}

/// The decisions behind the labels of one flow, which ``Explanation`` words.
struct LabelingDecisions: LabelingTrace {
    /// The local end and the reason for it; nil for an ignored flow.
    private(set) var localEnd: (end: FlowEnd, rule: LocalEndRule)?
    /// Whether the local end has the labels of the only pod behind the service whose address it is.
    private(set) var isPodBehindService = false

    mutating func recordLocalEnd(_ end: FlowEnd, by rule: LocalEndRule) { localEnd = (end, rule) }

    mutating func recordPodBehindService() { isPodBehindService = true }
}
