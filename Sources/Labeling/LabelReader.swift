// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Labels the flows of one observation: two look-ups of addresses and one of a range, nothing allocated and nothing
/// counted.
public struct LabelReader: ~Copyable {
    private let flagRules: ConnectionFlagRules
    private let hasFlagRules: Bool
    private let scopes: PrefixTable<AddressScope>
    private let ranges: RangeTable
    private let privateLabels: LabelsReference
    private let unlistedLabels: LabelsReference
    private let tables: UnsafePointer<EndpointTables>
    /// The observing node; no node's number where it is not known.
    private let node: Int32
    private let second: UInt32
    private let ignoreUDP: Bool
    private let ignoreNodeFlows: Bool
    private let ignoreUnknownDirection: Bool
    private let ignoreTransit: Bool

    init(
        labeler: Labeler, rules: Labeler.Rules, tables: UnsafePointer<EndpointTables>, ranges: RangeTable,
        node: String, second: UInt32
    ) {
        ignoreUDP = rules.configuration.ignoreUDP
        ignoreNodeFlows = rules.configuration.ignoreNodeFlows
        ignoreUnknownDirection = rules.configuration.ignoreUnknownDirection
        ignoreTransit = rules.configuration.ignoreTransit
        flagRules = rules.flagRules
        hasFlagRules = !rules.flagRules.isEmpty
        scopes = ranges.scopes
        self.ranges = ranges
        privateLabels = LabelsReference(labeler.privateLabels)
        unlistedLabels = LabelsReference(labeler.unlistedLabels)
        self.tables = tables
        self.node = tables.pointee.nodeNumbers[node] ?? -2
        self.second = second
    }

    /// Labels a flow.
    public func label(_ flow: Flow) -> Labeler.Outcome {
        if ignoreUDP && flow.transport == .udp { return .ignored(.udp) }
        // The reply's source is the real peer behind a translated destination.
        let ends = tables.pointee.endpoints(at: flow.original.source, flow.reply.source, second: second, node: node)
        let (source, destination) = (endpoint(ends.first), endpoint(ends.second))
        if ignoreNodeFlows && (source.isNode || destination.isNode) { return .ignored(.node) }
        let isSourceLocal: Bool
        switch localEnd(source, destination, of: flow) {
        case .source: isSourceLocal = true
        case .destination: isSourceLocal = false
        case .none(let reason): return .ignored(reason)
        }
        let (sourceLabels, sourceClass, sourceKind) = labels(of: flow.original.source, source)
        let (destinationLabels, destinationClass, destinationKind) = labels(of: flow.reply.source, destination)
        let sourceEnd = LabeledEndpoint(
            labels: sourceLabels, address: flow.original.source, port: flow.original.sourcePort, kind: sourceKind)
        let destinationEnd = LabeledEndpoint(
            labels: destinationLabels, address: flow.reply.source, port: flow.reply.sourcePort,
            kind: destinationKind)
        let (localClass, remoteClass) =
            isSourceLocal ? (sourceClass, destinationClass) : (destinationClass, sourceClass)
        return .labeled(
            LabeledFlow(
                transport: flow.transport,
                local: isSourceLocal ? sourceEnd : destinationEnd,
                remote: isSourceLocal ? destinationEnd : sourceEnd,
                service: service(dialledBy: flow),
                // An outside client behind which a pod of another node answers is local only by name.
                connectionClass: remoteClass == .intraVPC ? localClass : remoteClass,
                flags: hasFlagRules ? flagRules.flags(of: sourceEnd).union(flagRules.flags(of: destinationEnd)) : [],
                sent: isSourceLocal ? flow.originalCounters : flow.replyCounters,
                received: isSourceLocal ? flow.replyCounters : flow.originalCounters))
    }

    /// One end as the index knows it.
    private struct Endpoint {
        /// Below zero where nobody is known.
        let slot: Int32
        let node: Int32
        let isNode: Bool

        var isKnown: Bool { slot >= 0 }
        /// Whether it is on some node, or is one.
        var isPlaced: Bool { node >= 0 }
    }

    private func endpoint(_ slot: Int32?) -> Endpoint {
        guard let slot else { return Endpoint(slot: -1, node: -1, isNode: false) }
        return Endpoint(slot: slot, node: tables.pointee.node(of: slot), isNode: tables.pointee.isNode(slot))
    }

    private enum LocalEnd {
        case source
        case destination
        /// The flow is not to be recorded.
        case none(Labeler.IgnoredReason)
    }

    private func localEnd(_ source: Endpoint, _ destination: Endpoint, of flow: Flow) -> LocalEnd {
        if source.node == node { return .source }
        if destination.node == node { return .destination }
        return switch (source.isPlaced, destination.isPlaced) {
        // Through this node's port: the pod's node sees this node as the client, and not who it is.
        case (false, true): .source
        // An agent whose node is not known would lose all that its pods send. A private address may be behind this node: a
        // container's, a machine's, or that of a pod that has not been heard of.
        case (true, false):
            ignoreTransit && node >= 0 && isElsewhere(flow.reply.source) ? .none(.transit) : .destination
        default: ignoreUnknownDirection ? .none(.unknownDirection) : .source
        }
    }

    /// Whether an address that nobody of the cluster has cannot be behind the observing node.
    private func isElsewhere(_ address: IPAddress) -> Bool {
        let (scope, place) = surroundings(of: address)
        return scope == .public || place != nil
    }

    /// How far an address reaches, and what is known of it by the ranges that may speak of it.
    private func surroundings(of address: IPAddress) -> (scope: AddressScope, place: RangeTable.Place?) {
        let address = address.behindNAT64
        let scope = scopes.value(for: address) ?? .public
        let place: RangeTable.Place? =
            switch scope {
            case .public, .shared: ranges.place(of: address)
            case .private: ranges.privatePlace(of: address)
            case .reserved: nil
            }
        return (scope, place)
    }

    /// What is known about an address, and how far a flow between it and a pod of ours travels.
    private func labels(
        of address: IPAddress, _ endpoint: Endpoint
    ) -> (LabelsReference, ConnectionClass, EndpointKind) {
        if endpoint.isKnown {
            return (tables.pointee.labels(of: endpoint.slot), .intraVPC, endpoint.isNode ? .node : .pod)
        }
        let (scope, place) = surroundings(of: address)
        if let place {
            let isOnlyPrivate = scope == .private && place.connectionClass == .publicInternet
            return (place.labels, isOnlyPrivate ? .unknown : place.connectionClass, .range)
        }
        return switch scope {
        case .private, .shared: (privateLabels, .intraVPC, .private)
        case .reserved: (unlistedLabels, .unknown, .unknown)
        case .public: (unlistedLabels, .publicInternet, .unknown)
        }
    }

    /// The service whose address the flow was opened to, nil where the flow goes where it was opened to.
    private func service(dialledBy flow: Flow) -> LabelsReference? {
        guard flow.original.destination != flow.reply.source,
            let slot = tables.pointee.service(at: flow.original.destination, second: second)
        else { return nil }
        return tables.pointee.labels(of: slot)
    }
}
