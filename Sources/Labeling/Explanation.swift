// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import FlowModel

/// A readable explanation of how a flow is labelled and why.
public struct Explanation: Sendable, CustomStringConvertible {
    /// The lines of the explanation, each with its topic and its text.
    public private(set) var lines: [(topic: String, text: String)] = []

    /// The lines with their topics in a column.
    public var description: String {
        let width = (lines.map(\.topic.count).max() ?? 0) + 2
        return lines.map { line in
            line.topic + String(repeating: " ", count: width - line.topic.count) + line.text + "\n"
        }.joined()
    }

    fileprivate mutating func tell(_ topic: String, _ text: String) { lines.append((topic, text)) }
}

extension Labeler {
    /// Explains how a flow observed on a cluster's node at a moment would be labelled, and which rules and ranges decide.
    public func explain(
        _ flow: Flow, observedOn node: String, in cluster: ClusterID = .first, at second: UInt32
    ) -> Explanation {
        var explanation = Explanation()
        let answeredBy =
            flow.reply.source == flow.original.destination
            ? "" : ", answered by \(flow.reply.source.text(port: flow.reply.sourcePort))"
        let transport = flow.transport.name ?? "protocol \(flow.transport)"
        explanation.tell(
            "flow",
            "\(transport) \(flow.original.source.text(port: flow.original.sourcePort)) to "
                + "\(flow.original.destination.text(port: flow.original.destinationPort))\(answeredBy), "
                + "observed on \(node)")
        let rules = rules
        read(observedOn: node, in: cluster, at: second, by: rules) { reader in
            let tables = reader.tables
            if tables.pointee.nodeNumbers[NodeKey(cluster: cluster, name: node)] == nil {
                explanation.tell("node", "\(node) is unknown, and so are its pods")
            }
            describe("source", flow.original.source, second, reader, &explanation)
            describe("destination", flow.reply.source, second, reader, &explanation)
            if let service = tables.pointee.service(
                at: flow.reply.source, flow.reply.sourcePort, flow.transport, second: second, in: cluster)
            {
                let name = tables.pointee.labels(of: service).labels[.service]
                explanation.tell("", "it is the address of service \(name): a flow names the backend behind it")
            }
            switch reader.label(flow) {
            case .ignored(let reason): explanation.tell("ignored", reason.explanation)
            case .labeled(let labeled): describe(labeled, node, rules, &explanation)
            }
        }
        return explanation
    }

    private func describe(
        _ topic: String, _ address: IPAddress, _ second: UInt32, _ reader: borrowing LabelReader,
        _ explanation: inout Explanation
    ) {
        let tables = reader.tables
        var meant: LabelsReference?
        let nodeName = { tables.pointee.labels(ofNode: $0).labels[.node] }
        switch reader.holder(of: address) {
        case .candidate(let slot)?:
            meant = tables.pointee.labels(of: slot)
            explanation.tell(topic, "\(address) is \(text(tables.pointee[slot], second, reader.cluster))")
        case .host(let number)?:
            explanation.tell(topic, "\(address) is node \(nodeName(number)): its agent reports the address")
        case .blockOwner(let number)?:
            explanation.tell(
                topic,
                "\(address) is node \(nodeName(number)): the address is in its pod CIDR, and no pod has it")
        case nil: explanation.tell(topic, "\(address) is no pod or node; \(whereabouts(of: address, reader))")
        }
        for other in tables.pointee.candidates(at: address) where other.labels != meant {
            explanation.tell("", "rather than \(text(other, second, reader.cluster))")
        }
    }

    /// Returns the range or network of an address outside the cluster, in words.
    private func whereabouts(of address: IPAddress, _ reader: borrowing LabelReader) -> String {
        let inside = address.behindNAT64
        guard inside == address else { return "\(inside) behind NAT64, \(whereabouts(of: inside, reader))" }
        let (scope, place) = reader.surroundings(of: address)
        let network = reader.ranges.network(of: address)?.prefix.description ?? ""
        var range: String?
        if let place, let prefix = reader.ranges.prefix(of: address, in: scope) {
            let labels = place.labels.labels
            let words = [labels[.cloud], labels[.region], labels[.cloudService]].filter { !$0.isEmpty }
            range = "in range \(prefix): \(words.joined(separator: " "))"
        }
        return switch (scope, range) {
        case (.reserved, _): "reserved by \(network): no host has it"
        case (.private, let range?): "private by \(network), \(range)"
        case (.shared, let range?): "shared by \(network), \(range)"
        case (.private, nil), (.shared, nil): "private by \(network): the own cloud and region"
        case (.public, let range?): "public, \(range)"
        case (.public, nil): "public, in no known range"
        }
    }

    private func describe(
        _ labeled: LabeledFlow, _ node: String, _ rules: Rules, _ explanation: inout Explanation
    ) {
        let decision = labeled.decision
        explanation.tell("local", "the \(decision.end): \(decision.rule.explanation(on: node))")
        if decision.isPodBehindService {
            let pod = labeled.local.labels.labels
            explanation.tell(
                "", "pod \(pod[.namespace])/\(pod[.pod]) is the only one of \(node) behind the service of this address")
        }
        explanation.tell("opened", labeled.isOpenedByLocal ? "by the local end" : "by the remote end")
        if let service = labeled.service { explanation.tell("service", service.labels[.service]) }
        explanation.tell("class", labeled.connectionClass.rawValue)
        let names = rules.flagNames
        let flags = names.indices.filter { labeled.flags.rawValue >> UInt64($0) & 1 == 1 }
        if !flags.isEmpty { explanation.tell("flags", flags.map { names[$0] }.joined(separator: ", ")) }
        for (name, end) in [("local", labeled.local), ("remote", labeled.remote)] {
            let labels = end.labels.labels
            let columns = Label.allCases.filter { $0 != .service && !labels[$0].isEmpty }.map { "\($0)=\(labels[$0])" }
            explanation.tell("\(name) row", columns.joined(separator: " "))
        }
    }

    /// Returns a candidate in words, for flows observed in a cluster.
    private func text(_ candidate: Candidate, _ second: UInt32, _ cluster: ClusterID) -> String {
        let labels = candidate.labels.labels
        let elsewhere = candidate.cluster == cluster ? "" : " of cluster \(labels[.cluster])"
        let who =
            candidate.kind == .node
            ? "node \(labels[.node])\(elsewhere)"
            : "pod \(labels[.namespace])/\(labels[.pod]) on \(labels[.node].isEmpty ? "no node" : labels[.node])\(elsewhere)"
                + (candidate.kind == .claimingPod ? " by an annotation, which counts for private addresses" : "")
        if candidate.startedAt > second { return "\(who), which started \(candidate.startedAt - second) s later" }
        if candidate.endedAt < second { return "\(who), which ended \(second - candidate.endedAt) s before" }
        return who
    }
}

extension LocalEndRule {
    /// The rule in words.
    fileprivate func explanation(on node: String) -> String {
        switch self {
        case .onThisNode: "it runs on \(node)"
        case .otherEndElsewhere: "only the other end is known, on another node"
        case .translatedHere: "both are on other nodes, and this one has replaced their addresses"
        case .serviceAddress: "it is a service's address, from which pods of \(node) may send"
        case .behindThisNode: "it is assumed to be behind \(node)"
        case .undecided: "no rule decides, so the source is used"
        }
    }
}

extension Labeler.IgnoredReason {
    /// The reason in words, with the configuration's key that causes it.
    fileprivate var explanation: String {
        switch self {
        case .udp: "it is UDP, and ignore_udp is true"
        case .node: "one end is a node, and ignore_node_flows is true"
        case .unknownDirection:
            "neither end is a pod of the observing node, and none or both are of others; ignore_unknown_direction is true"
        case .transit:
            "the flow only passes this node, and the node of the source's pod reports it; ignore_transit is true"
        }
    }
}
