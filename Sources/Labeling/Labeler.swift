// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import FlowModel
import Synchronization

/// Labels flows: finds the pods, nodes and ranges behind a flow's addresses, its local end and how far it travels.
public final class Labeler: Sendable {
    /// The flows to ignore, the private networks, and the rules for flags.
    public struct Configuration: Equatable, Sendable {
        /// Ignore UDP flows.
        public var ignoreUDP: Bool
        /// Ignore flows to or from a node's own addresses, host-network pods included.
        public var ignoreNodeFlows: Bool
        /// Ignore flows whose local end cannot be determined: neither end, or both, could be local. When recorded, the
        /// source counts as local.
        public var ignoreUnknownDirection: Bool
        /// Ignore flows that a pod of another node opens to the outside and that only pass the observing node: the
        /// pod's node reports them too. When recorded, the other end counts as local.
        public var ignoreTransit: Bool
        /// Networks besides RFC 1918, link-local and loopback that count as private, such as 100.64.0.0/10.
        public var privateNetworks: [IPPrefix]
        /// The rules for the column `connectionFlags`; at most ``ConnectionFlagRule/maximumCount``.
        public var flagRules: [ConnectionFlagRule]

        /// Makes a configuration; the defaults are kubenetmon's.
        public init(
            ignoreUDP: Bool = true, ignoreNodeFlows: Bool = true, ignoreUnknownDirection: Bool = true,
            ignoreTransit: Bool = true, privateNetworks: [IPPrefix] = [], flagRules: [ConnectionFlagRule] = []
        ) {
            self.ignoreUDP = ignoreUDP
            self.ignoreNodeFlows = ignoreNodeFlows
            self.ignoreUnknownDirection = ignoreUnknownDirection
            self.ignoreTransit = ignoreTransit
            self.privateNetworks = privateNetworks
            self.flagRules = flagRules
        }
    }

    /// The reason why a flow is not recorded.
    public enum IgnoredReason: String, CaseIterable, Sendable {
        /// The flow is UDP, and ``Configuration/ignoreUDP`` is set.
        case udp
        /// One end is a node, and ``Configuration/ignoreNodeFlows`` is set.
        case node
        /// Neither end, or both, could be local, and ``Configuration/ignoreUnknownDirection`` is set.
        case unknownDirection = "unknown_direction"
        /// A pod of another node opened the flow to the outside, and ``Configuration/ignoreTransit`` is set: the
        /// observing node is an egress gateway or a NAT node on the way, and the pod's node reports the flow.
        case transit
    }

    /// The result of labelling a flow.
    public enum Outcome: Sendable {
        /// The flow is recorded.
        case labeled(LabeledFlow)
        /// The flow is only counted.
        case ignored(IgnoredReason)
    }

    /// The labels that hold for a whole cluster's site.
    struct SiteLabels: Sendable {
        /// The labels of private addresses that are no pod's or node's.
        let anywhere: EndpointLabels
        /// The labels of a local end outside the cluster, behind an unknown node.
        let inCluster: EndpointLabels

        init(_ site: Site) {
            anywhere = EndpointLabels([.cloud: site.cloud, .region: site.region])
            inCluster = EndpointLabels([.cloud: site.cloud, .region: site.region, .cluster: site.cluster])
        }
    }

    /// The pods, nodes and services.
    public let index: ClusterIndex
    /// The rules in force at a moment: which flows are ignored and which flags are set.
    public struct Rules: Sendable {
        let configuration: Configuration
        let flagRules: ConnectionFlagRules

        /// The names of ``ConnectionFlags`` in the order of their bits; empty for bits without a rule.
        public var flagNames: [String] { flagRules.names }
    }

    let siteLabels: PerCluster<SiteLabels>
    let unlistedLabels = EndpointLabels()
    /// The ranges as seen from each cluster.
    private let rangeTables: Mutex<PerCluster<RangeTable>>
    private let rulesStorage: Mutex<Rules>

    /// Makes a labeler for the clusters of an index, without ranges.
    public init(index: ClusterIndex, configuration: Configuration) {
        self.index = index
        rulesStorage = Mutex(
            Rules(configuration: configuration, flagRules: ConnectionFlagRules(configuration.flagRules)))
        siteLabels = PerCluster(index.sites.map(SiteLabels.init))
        rangeTables = Mutex(Self.rangeTables([], index.sites, configuration.privateNetworks))
    }

    /// Replaces the ranges; of a block that is listed twice, the last range counts.
    public func setRanges(_ ranges: [CloudRange]) {
        let next = Self.rangeTables(ranges, index.sites, rules.configuration.privateNetworks)
        rangeTables.withLock { tables in
            let privateNetworks = tables[.first].privateNetworks
            tables = next.map { $0.with(privateNetworks: privateNetworks) }
        }
    }

    /// Returns a table for each site; sites in the same region share one.
    private static func rangeTables(
        _ ranges: [CloudRange], _ sites: [Site], _ privateNetworks: [IPPrefix]
    ) -> PerCluster<RangeTable> {
        var tables: [RangeTable] = []
        for site in sites {
            let same = sites.firstIndex { $0.cloud == site.cloud && $0.region == site.region } ?? 0
            tables.append(
                same < tables.count
                    ? tables[same] : RangeTable(ranges, site: site, privateNetworks: privateNetworks))
        }
        return PerCluster(tables)
    }

    /// The rules that are in force now.
    public var rules: Rules { rulesStorage.withLock { $0 } }

    /// Replaces the rules in force.
    ///
    /// Conditions on pod labels are evaluated when a pod is added. A new condition is not met until the pods are listed
    /// again (``ClusterIndex/podStore()``).
    public func apply(_ configuration: Configuration) {
        rulesStorage.withLock { rules in
            let flagRules = ConnectionFlagRules(configuration.flagRules, after: rules.flagRules)
            index.setPodFlags(flagRules)
            rules = Rules(configuration: configuration, flagRules: flagRules)
        }
        rangeTables.withLock { tables in
            tables = tables.map { $0.with(privateNetworks: configuration.privateNetworks) }
        }
    }

    /// Labels flows that were observed on a node at a moment.
    ///
    /// The reader's results are valid until `body` returns. Changes of the index wait for `body`, so it must label no
    /// more than about a thousand flows, and it must not call `read` again.
    ///
    /// - Parameters:
    ///   - node: The node's name. Flows of an unknown node have no local pod.
    ///   - cluster: The node's cluster.
    ///   - second: The moment in seconds since the Unix epoch.
    ///   - rules: The rules; nil for the rules in force.
    ///   - body: Labels flows.
    public func read<Result>(
        observedOn node: String, in cluster: ClusterID = .first, at second: UInt32, by rules: Rules? = nil,
        _ body: (borrowing LabelReader) throws -> Result
    ) rethrows -> Result {
        let ranges = rangeTables.withLock { $0[cluster] }
        let node = NodeKey(cluster: cluster, name: node)
        let rules = rules ?? self.rules
        return try index.read { tables in
            try body(
                LabelReader(labeler: self, rules: rules, tables: tables, ranges: ranges, node: node, second: second))
        }
    }
}
