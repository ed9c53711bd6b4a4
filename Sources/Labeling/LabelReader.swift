// SPDX-License-Identifier: Apache-2.0

import ClusterModel
public import FlowModel

/// Labels the flows of one observation. Each flow takes two address look-ups and one range look-up, without allocation
/// or reference counting.
public struct LabelReader: ~Copyable {
    private let flagRules: ConnectionFlagRules
    private let hasFlagRules: Bool
    private let scopes: PrefixTable<AddressScope>
    let ranges: RangeTable
    /// The labels of a local end outside the cluster, which is behind the observing node.
    private let localLabels: LabelsReference
    private let privateLabels: LabelsReference
    private let unlistedLabels: LabelsReference
    let tables: UnsafePointer<EndpointTables>
    /// The observing node's cluster.
    let cluster: ClusterID
    /// The cluster's part of the tables.
    private let network: ClusterNetwork
    /// The observing node's number; -2, which is no node's number, if the node is unknown.
    private let node: Int32
    /// The host addresses that the observing node's agent reported.
    private let ownAddresses: AddressTable?
    private let second: UInt32
    private let ignoreUDP: Bool
    private let ignoreNodeFlows: Bool
    private let ignoreUnknownDirection: Bool
    private let ignoreTransit: Bool

    init(
        labeler: Labeler, rules: Labeler.Rules, tables: UnsafePointer<EndpointTables>, ranges: RangeTable,
        node: NodeKey, second: UInt32
    ) {
        ignoreUDP = rules.configuration.ignoreUDP
        ignoreNodeFlows = rules.configuration.ignoreNodeFlows
        ignoreUnknownDirection = rules.configuration.ignoreUnknownDirection
        ignoreTransit = rules.configuration.ignoreTransit
        flagRules = rules.flagRules
        hasFlagRules = !rules.flagRules.isEmpty
        scopes = ranges.scopes
        self.ranges = ranges
        privateLabels = LabelsReference(labeler.siteLabels[node.cluster].anywhere)
        unlistedLabels = LabelsReference(labeler.unlistedLabels)
        self.tables = tables
        cluster = node.cluster
        network = tables.pointee.networks[node.cluster]
        let number = tables.pointee.nodeNumbers[node]
        self.node = number ?? -2
        ownAddresses = number.flatMap { tables.pointee.networks[node.cluster].hostAddresses.own(ofNode: $0) }
        localLabels =
            number.map { tables.pointee.labels(ofNode: $0) }
            ?? LabelsReference(labeler.siteLabels[node.cluster].inCluster)
        self.second = second
    }

    /// Labels a flow.
    public func label(_ flow: Flow) -> Labeler.Outcome {
        if ignoreUDP && flow.transport == .udp { return .ignored(.udp) }
        // The reply's source is the real peer behind a translated destination.
        // Both look-ups before both lists, so that they wait for memory once instead of twice; written out here, because
        // the optimizer calls one function for both and copies the tables to the stack for it.
        let heads = (tables.pointee.head(at: flow.original.source), tables.pointee.head(at: flow.reply.source))
        let ends = (
            first: tables.pointee.likeliest(from: heads.0, at: second, node: node, in: cluster),
            second: tables.pointee.likeliest(from: heads.1, at: second, node: node, in: cluster)
        )
        var source = endpoint(ends.first, at: flow.original.source)
        var destination = endpoint(ends.second, at: flow.reply.source)
        if ignoreNodeFlows && (source.isNode || destination.isNode) { return .ignored(.node) }
        let hasDialledPod = destination.kind == .pod && flow.reply.source == flow.original.destination
        var decision = LocalEndDecision()
        switch localEnd(source, destination, of: flow) {
        case .source(let rule):
            (decision.end, decision.rule) = (.source, rule)
            if !source.isKnown, let pod = podBehind(flow.original.source, flow.original.sourcePort, of: flow) {
                source = pod
                decision.isPodBehindService = true
            }
        case .destination(let rule):
            (decision.end, decision.rule) = (.destination, rule)
            if !destination.isKnown, let pod = podBehind(flow.reply.source, flow.reply.sourcePort, of: flow) {
                destination = pod
                decision.isPodBehindService = true
            }
        case .none(let reason): return .ignored(reason)
        }
        let isSourceLocal = decision.end == .source
        let (sourceLabels, sourceClass, sourceKind) = labels(of: flow.original.source, source)
        let (destinationLabels, destinationClass, destinationKind) = labels(of: flow.reply.source, destination)
        let sourceEnd = LabeledEndpoint(
            labels: isSourceLocal && !source.isKnown ? localLabels : sourceLabels, address: flow.original.source,
            port: flow.original.sourcePort, kind: sourceKind)
        let destinationEnd = LabeledEndpoint(
            labels: !isSourceLocal && !destination.isKnown ? localLabels : destinationLabels,
            address: flow.reply.source, port: flow.reply.sourcePort, kind: destinationKind)
        let (localClass, remoteClass) =
            isSourceLocal ? (sourceClass, destinationClass) : (destinationClass, sourceClass)
        var labeled = LabeledFlow(
            transport: flow.transport,
            local: isSourceLocal ? sourceEnd : destinationEnd,
            remote: isSourceLocal ? destinationEnd : sourceEnd,
            service: hasDialledPod ? nil : service(dialledBy: flow),
            // NodePort traffic: the external client counts as local, so its address decides the class.
            connectionClass: remoteClass == .intraVPC ? localClass : remoteClass,
            flags: flags(of: flow, sourceEnd, destinationEnd),
            sent: isSourceLocal ? flow.originalCounters : flow.replyCounters,
            received: isSourceLocal ? flow.replyCounters : flow.originalCounters,
            isOpenedByLocal: isSourceLocal && decision.rule != .serviceAddress, zone: flow.zone)
        labeled.decision = decision
        return .labeled(labeled)
    }

    private func flags(of flow: Flow, _ source: LabeledEndpoint, _ destination: LabeledEndpoint) -> ConnectionFlags {
        let translated: ConnectionFlags = flow.reply.destination == flow.original.source ? [] : .translated
        guard hasFlagRules else { return translated }
        return translated.union(flagRules.flags(of: source)).union(flagRules.flags(of: destination))
    }

    /// One end as the index knows it.
    private struct Endpoint {
        /// Nil for an unknown end.
        let labels: LabelsReference?
        let node: Int32
        /// The kind of the address's owner; nil for an unknown end.
        let kind: EndpointTables.Kind?

        static var unknown: Endpoint { Endpoint(labels: nil, node: -1, kind: nil) }

        var isNode: Bool { kind == .node }
        var isKnown: Bool { labels != nil }
        /// Whether the end is a node or runs on a node.
        var isPlaced: Bool { node >= 0 }
    }

    private func endpoint(_ slot: Int32?, at address: IPAddress) -> Endpoint {
        switch holder(slot, of: address) {
        case .candidate(let slot): endpoint(slot)
        case .host(let number), .blockOwner(let number):
            Endpoint(labels: tables.pointee.labels(ofNode: number), node: number, kind: .node)
        case nil: .unknown
        }
    }

    private func endpoint(_ slot: Int32) -> Endpoint {
        let candidate = tables.pointee[slot]
        return Endpoint(labels: candidate.labels, node: candidate.node, kind: candidate.kind)
    }

    /// The holder of an address.
    enum Holder {
        /// A pod or Node object, by its slot in the tables.
        case candidate(Int32)
        /// A node, by its number; the node's agent has reported the address as its host's.
        case host(Int32)
        /// A node, by its number; the address is in the node's pod block, and no pod has it.
        case blockOwner(Int32)
    }

    /// Returns the holder of an address; nil for an address outside the cluster.
    func holder(of address: IPAddress) -> Holder? {
        holder(tables.pointee.endpoint(at: address, second: second, node: node, in: cluster), of: address)
    }

    private func holder(_ slot: Int32?, of address: IPAddress) -> Holder? {
        if let slot, !tables.pointee.isClaiming(slot) { return .candidate(slot) }
        if ownAddresses?[address] != nil { return .host(node) }
        let isInternal = isInternal(address)
        if isInternal, let host = network.hostAddresses.node(with: address) { return .host(host) }
        if let host = network.blockOwner(of: address, second: second) { return .blockOwner(host) }
        // An annotation does not count for a public address: a pod's author can write it.
        return slot.flatMap { isInternal ? .candidate($0) : nil }
    }

    /// Whether an address is valid only within a network.
    private func isInternal(_ address: IPAddress) -> Bool {
        let scope = scopes.value(for: address)
        return scope == .private || scope == .shared
    }

    private enum LocalEnd {
        case source(LocalEndRule)
        case destination(LocalEndRule)
        /// The flow is not recorded.
        case none(Labeler.IgnoredReason)
    }

    @inline(__always)
    private func localEnd(_ source: Endpoint, _ destination: Endpoint, of flow: Flow) -> LocalEnd {
        if source.node == node { return .source(.onThisNode) }
        if destination.node == node { return .destination(.onThisNode) }
        return switch (source.isPlaced, destination.isPlaced) {
        // NodePort traffic through this node: the pod's node sees this node as the client, not the real client.
        case (false, true): .source(.otherEndElsewhere)
        // A flow that passes here with its destination unchanged is reported by the source's node. A flow that is sent
        // to this node and forwarded is not, because the source's node sees only this node. If this node is unknown, no
        // flow counts as transit: the rule would drop everything that its own pods send.
        case (true, false):
            ignoreTransit && node >= 0 && flow.reply.source == flow.original.destination
                && !isLoadBalancer(flow.reply.source, flow.reply.sourcePort, of: flow)
                ? .none(.transit) : .destination(.otherEndElsewhere)
        // From a pod of another node through a port of this node to a pod of a third node: both pods' nodes see only
        // this node.
        case (true, true) where isTranslatedHere(flow): .source(.translatedHere)
        // Direct server return: a pod of this node sends from the load balancer's address. If replies take another way
        // than requests, the pod seems to open the connection; `label` says that the client has opened it.
        case (false, false)
        where !destination.isKnown && isLoadBalancer(flow.reply.source, flow.reply.sourcePort, of: flow):
            .destination(.serviceAddress)
        case (false, false)
        where !source.isKnown && isLoadBalancer(flow.original.source, flow.original.sourcePort, of: flow):
            .source(.serviceAddress)
        // A container or a machine behind this node, or a pod that is not known yet.
        case (false, false) where !source.isKnown && !destination.isKnown && isBehindThisNode(flow.original.source):
            .source(.behindThisNode)
        default: ignoreUnknownDirection ? .none(.unknownDirection) : .source(.undecided)
        }
    }

    /// Whether the observing node has replaced both a flow's source and its destination.
    private func isTranslatedHere(_ flow: Flow) -> Bool {
        flow.reply.destination != flow.original.source && flow.reply.source != flow.original.destination
    }

    /// Whether an address and port belong to a service: pods of this node may send from them (direct server return).
    private func isLoadBalancer(_ address: IPAddress, _ port: UInt16, of flow: Flow) -> Bool {
        node >= 0 && tables.pointee.service(at: address, port, flow.transport, second: second, in: cluster) != nil
    }

    /// Returns the only pod of this node behind a service's address; nil if there is no pod or several.
    private func podBehind(_ address: IPAddress, _ port: UInt16, of flow: Flow) -> Endpoint? {
        guard let service = tables.pointee.service(at: address, port, flow.transport, second: second, in: cluster),
            let slot = tables.pointee.backend(ofService: service, onNode: node)
        else { return nil }
        return endpoint(slot)
    }

    /// Whether an address outside the cluster may be behind the observing node.
    private func isBehindThisNode(_ address: IPAddress) -> Bool {
        let (scope, place) = surroundings(of: address)
        return node >= 0 && (scope == .private || scope == .shared) && place == nil && !address.isLoopback
    }

    /// Returns an address's scope, and its place according to the ranges that apply in this scope.
    func surroundings(of address: IPAddress) -> (scope: AddressScope, place: RangeTable.Place?) {
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

    /// Returns an address's labels, the class of a flow between the address and our pods, and the kind of the end.
    private func labels(
        of address: IPAddress, _ endpoint: Endpoint
    ) -> (LabelsReference, ConnectionClass, EndpointKind) {
        if let labels = endpoint.labels { return (labels, .intraVPC, endpoint.isNode ? .node : .pod) }
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

    /// Returns the labels of the service whose address the flow was opened to; nil if the address is no service's.
    private func service(dialledBy flow: Flow) -> LabelsReference? {
        let (address, port) = (flow.original.destination, flow.original.destinationPort)
        if let slot = tables.pointee.service(at: address, port, flow.transport, second: second, in: cluster) {
            return tables.pointee.labels(of: slot)
        }
        guard let slot = tables.pointee.service(atNodePort: port, flow.transport, second: second, in: cluster),
            isNode(address)
        else { return nil }
        return tables.pointee.labels(of: slot)
    }

    private func isNode(_ address: IPAddress) -> Bool {
        switch holder(of: address) {
        case .candidate(let slot)?: tables.pointee.isNode(slot)
        case .host?, .blockOwner?: true
        case nil: false
        }
    }
}
