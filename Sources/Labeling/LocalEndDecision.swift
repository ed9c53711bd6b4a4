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

/// The labeler's decision which end of a flow is local, which ``Explanation`` words.
struct LocalEndDecision: Sendable {
    var end = FlowEnd.source
    var rule = LocalEndRule.undecided
    /// Whether the end is a service's address and has the labels of the only pod of the observing node behind the
    /// service.
    var isPodBehindService = false
}
