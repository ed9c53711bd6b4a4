// SPDX-License-Identifier: Apache-2.0

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
    /// Explains how a flow observed on a node at a moment would be labelled, and which rules and ranges decide.
    public func explain(_ flow: Flow, observedOn node: String, at second: UInt32) -> Explanation {
        var explanation = Explanation()
        let answeredBy =
            flow.reply.source == flow.original.destination
            ? "" : ", answered by \(Self.text(flow.reply.source, flow.reply.sourcePort))"
        let transport = flow.transport.name ?? "protocol \(flow.transport)"
        explanation.tell(
            "flow",
            "\(transport) \(Self.text(flow.original.source, flow.original.sourcePort)) to "
                + "\(Self.text(flow.original.destination, flow.original.destinationPort))\(answeredBy), "
                + "observed on \(node)")
        let (ranges, rules) = (ranges, rules)
        read(observedOn: node, at: second, by: rules) { reader in
            let tables = reader.tables
            if tables.pointee.nodeNumbers[node] == nil {
                explanation.tell("node", "\(node) is not known: none of its pods is")
            }
            describe("source", flow.original.source, second, reader, ranges, &explanation)
            describe("destination", flow.reply.source, second, reader, ranges, &explanation)
            if let service = tables.pointee.service(
                at: flow.reply.source, flow.reply.sourcePort, flow.transport, second: second)
            {
                let name = tables.pointee.labels(of: service).labels[.service]
                explanation.tell("", "it is the address of service \(name): a flow names who answers behind it")
            }
            switch reader.label(flow) {
            case .ignored(let reason): explanation.tell("ignored", reason.explanation)
            case .labeled(let labeled): describe(labeled, flow, node, rules, &explanation)
            }
        }
        return explanation
    }

    private func describe(
        _ topic: String, _ address: IPAddress, _ second: UInt32, _ reader: borrowing LabelReader, _ ranges: RangeTable,
        _ explanation: inout Explanation
    ) {
        let tables = reader.tables
        var meant: LabelsReference?
        switch reader.holder(of: address) {
        case .candidate(let slot)?:
            meant = tables.pointee.labels(of: slot)
            explanation.tell(topic, "\(address) is \(Self.text(tables.pointee[slot], second))")
        case .host(let number)?:
            let name = tables.pointee.labels(ofNode: number).labels[.node]
            let reason =
                tables.pointee.hostAddresses.areTold(ofNode: number)
                ? "its agent tells so" : "the address is of its pods' block, and no pod has it"
            explanation.tell(topic, "\(address) is node \(name): \(reason)")
        case nil: explanation.tell(topic, "\(address) is no pod or node; \(whereabouts(of: address, ranges))")
        }
        for other in tables.pointee.candidates(at: address) where other.labels != meant {
            explanation.tell("", "rather than \(Self.text(other, second))")
        }
    }

    /// Returns the range or network of an address outside the cluster, in words.
    private func whereabouts(of address: IPAddress, _ ranges: RangeTable) -> String {
        let inside = address.behindNAT64
        guard inside == address else { return "\(inside) behind NAT64, \(whereabouts(of: inside, ranges))" }
        let network = ranges.network(of: address)
        let range = ranges.prefix(of: address).flatMap { prefix in
            ranges.place(of: address).map { place in
                let labels = place.labels.labels
                let words = [labels[.cloud], labels[.region], labels[.cloudService]].filter { !$0.isEmpty }
                return "in range \(prefix): \(words.joined(separator: " "))"
            }
        }
        switch (network.map { ($0.prefix, $0.scope) }, range) {
        case ((let prefix, .reserved)?, _): return "reserved by \(prefix): nobody's"
        case ((let prefix, .private)?, let range?) where ranges.privatePlace(of: address) != nil:
            return "private by \(prefix), \(range)"
        case ((let prefix, .shared)?, let range?): return "shared by \(prefix), \(range)"
        case ((let prefix, .private)?, _), ((let prefix, .shared)?, _):
            return "private by \(prefix): the own cloud and region"
        case (_, let range?): return "public, \(range)"
        default: return "public, in no known range"
        }
    }

    private func describe(
        _ labeled: LabeledFlow, _ flow: Flow, _ node: String, _ rules: Rules, _ explanation: inout Explanation
    ) {
        let isSourceLocal =
            labeled.local.address == flow.original.source && labeled.local.port == flow.original.sourcePort
        let local = labeled.local.labels.labels
        let side = isSourceLocal ? "source" : "destination"
        let isOurs = labeled.local.kind == .pod || labeled.local.kind == .node
        let isRemoteOurs = labeled.remote.kind == .pod || labeled.remote.kind == .node
        let reason =
            switch (isOurs, isRemoteOurs) {
            case (true, _) where local[.node] == node: "it runs on \(node)"
            case (true, true) where flow.reply.destination != flow.original.source:
                "both are on other nodes, and this one has replaced their addresses"
            case (false, true): "only the other end is known, on another node"
            case (false, false) where local[.node] == node: "it is taken to be behind \(node)"
            default: "it cannot be told"
            }
        explanation.tell("local", "the \(side): \(reason)")
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

    private static func text(_ address: IPAddress, _ port: UInt16) -> String {
        address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)"
    }

    private static func text(_ candidate: Candidate, _ second: UInt32) -> String {
        let labels = candidate.labels.labels
        let who =
            candidate.kind == .node
            ? "node \(labels[.node])"
            : "pod \(labels[.namespace])/\(labels[.pod]) on \(labels[.node].isEmpty ? "no node" : labels[.node])"
                + (candidate.kind == .claimingPod ? " by an annotation, which counts for private addresses" : "")
        if candidate.startedAt > second { return "\(who), which started \(candidate.startedAt - second) s later" }
        if candidate.endedAt < second { return "\(who), which ended \(second - candidate.endedAt) s before" }
        return who
    }
}

extension Labeler.IgnoredReason {
    /// The reason in words, with the configuration's key that causes it.
    fileprivate var explanation: String {
        switch self {
        case .udp: "it is UDP, and ignore_udp is true"
        case .node: "one end is a node, and ignore_node_flows is true"
        case .unknownDirection:
            "no end is a pod of the observing node, and neither or both are of another; ignore_unknown_direction is true"
        case .transit:
            "the source is a pod of another node, which tells of it, and it only passes here; ignore_transit is true"
        }
    }
}
