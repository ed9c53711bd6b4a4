// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import Kubernetes

/// Tells which pods, nodes and ranges a flow's addresses belong to, which end is local and how far it travels.
public struct Labeler: Sendable {
    /// What is not to be recorded, and which addresses count as private.
    public struct Configuration: Equatable, Sendable {
        /// Leave UDP out.
        public var ignoreUDP: Bool
        /// Leave out flows to or from a node's own addresses, host-network pods included.
        public var ignoreNodeFlows: Bool
        /// Networks besides RFC 1918, link-local and loopback that count as private, such as 100.64.0.0/10.
        public var privateNetworks: [IPPrefix]

        /// Makes a configuration; the defaults are kubenetmon's.
        public init(ignoreUDP: Bool = true, ignoreNodeFlows: Bool = true, privateNetworks: [IPPrefix] = []) {
            self.ignoreUDP = ignoreUDP
            self.ignoreNodeFlows = ignoreNodeFlows
            self.privateNetworks = privateNetworks
        }
    }

    /// Why a flow is not recorded.
    public enum IgnoredReason: String, CaseIterable, Sendable {
        /// It is UDP, and ``Configuration/ignoreUDP`` is set.
        case udp
        /// One end is a node, and ``Configuration/ignoreNodeFlows`` is set.
        case node
        /// Neither end, or both, could be the local one: no pod of the observing node takes part.
        case unknownDirection = "unknown_direction"
    }

    /// What becomes of a flow.
    public enum Outcome: Sendable {
        /// It is recorded.
        case labeled(LabeledFlow)
        /// It is only counted.
        case ignored(IgnoredReason)
    }

    private let configuration: Configuration
    private let index: EndpointIndex
    private let scopes: PrefixTable<AddressScope>
    private let ranges: PrefixTable<Range>
    private let privateLabels: EndpointLabels
    private let unlistedLabels = EndpointLabels()

    /// A block of public addresses whose owner is known.
    private struct Range: Sendable {
        let labels: EndpointLabels
        let connectionClass: ConnectionClass
    }

    /// Makes a labeler for a cluster at `site` that knows the inventory's pods, nodes and ranges.
    public init(_ inventory: Inventory, site: Site, configuration: Configuration) {
        self.configuration = configuration
        index = EndpointIndex(inventory, site: site)
        scopes = .addressScopes(adding: configuration.privateNetworks)
        ranges = PrefixTable(
            inventory.ranges.flatMap { named in
                let range = Range(
                    labels: EndpointLabels(cloud: named.cloud, region: named.region, cloudService: named.service),
                    connectionClass: Self.connectionClass(toCloud: named.cloud, region: named.region, from: site))
                return named.prefixes.map { (prefix: $0, value: range) }
            })
        privateLabels = EndpointLabels(cloud: site.cloud, region: site.region)
    }

    /// The node of this name, nil where the inventory does not know it: its flows then have no local pod.
    public func nodeID(named name: String) -> EndpointIndex.NodeID? { index.nodeID(named: name) }

    /// Labels a flow that was observed on a node.
    public func label(_ flow: Flow, observedOn node: EndpointIndex.NodeID?) -> Outcome {
        if configuration.ignoreUDP && flow.transport == .udp { return .ignored(.udp) }
        // The reply's source is the real peer behind a translated destination.
        let source = index.endpoint(at: flow.original.source)
        let destination = index.endpoint(at: flow.reply.source)
        if configuration.ignoreNodeFlows && (source?.isNode == true || destination?.isNode == true) {
            return .ignored(.node)
        }
        guard let isSourceLocal = isSourceLocal(source, destination, observedOn: node) else {
            return .ignored(.unknownDirection)
        }
        let (sourceLabels, sourceClass) = labels(of: flow.original.source, knownAs: source)
        let (destinationLabels, destinationClass) = labels(of: flow.reply.source, knownAs: destination)
        let sourceEnd = LabeledEndpoint(
            labels: sourceLabels, address: flow.original.source, port: flow.original.sourcePort)
        let destinationEnd = LabeledEndpoint(
            labels: destinationLabels, address: flow.reply.source, port: flow.reply.sourcePort)
        let (localClass, remoteClass) =
            isSourceLocal ? (sourceClass, destinationClass) : (destinationClass, sourceClass)
        return .labeled(
            LabeledFlow(
                transport: flow.transport,
                local: isSourceLocal ? sourceEnd : destinationEnd,
                remote: isSourceLocal ? destinationEnd : sourceEnd,
                // An outside client behind which a pod of another node answers is local only by name.
                connectionClass: remoteClass == .intraVPC ? localClass : remoteClass,
                sent: isSourceLocal ? flow.originalCounters : flow.replyCounters,
                received: isSourceLocal ? flow.replyCounters : flow.originalCounters))
    }

    /// Which end is local, nil where it cannot be told.
    private func isSourceLocal(
        _ source: EndpointIndex.Endpoint?, _ destination: EndpointIndex.Endpoint?,
        observedOn node: EndpointIndex.NodeID?
    ) -> Bool? {
        if let node {
            if source?.nodeID == node { return true }
            if destination?.nodeID == node { return false }
        }
        switch (source, destination) {
        case (nil, .some): return true
        case (.some, nil): return false
        default: return nil
        }
    }

    /// What is known about an address, and how far a flow between it and a pod of ours travels.
    private func labels(
        of address: IPAddress, knownAs endpoint: EndpointIndex.Endpoint?
    ) -> (EndpointLabels, ConnectionClass) {
        if let endpoint { return (endpoint.labels, .intraVPC) }
        switch scopes.value(for: address) ?? .public {
        case .private: return (privateLabels, .intraVPC)
        case .reserved: return (unlistedLabels, .unknown)
        case .public:
            guard let range = ranges.value(for: address) else { return (unlistedLabels, .publicInternet) }
            return (range.labels, range.connectionClass)
        }
    }

    private static func connectionClass(
        toCloud cloud: String, region: String, from site: Site
    ) -> ConnectionClass {
        guard cloud == site.cloud else { return .publicInternet }
        return switch region {
        case "": .unknown
        // Anycast addresses: the nearest place answers.
        case "global", site.region: .intraRegion
        default: .interRegion
        }
    }
}
