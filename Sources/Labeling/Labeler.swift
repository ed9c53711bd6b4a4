// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import FlowModel
import Synchronization

/// Tells which pods, nodes and ranges a flow's addresses belong to, which end is local and how far it travels.
public final class Labeler: Sendable {
    /// What is not to be recorded, and which addresses count as private.
    public struct Configuration: Equatable, Sendable {
        /// Leave UDP out.
        public var ignoreUDP: Bool
        /// Leave out flows to or from a node's own addresses, host-network pods included.
        public var ignoreNodeFlows: Bool
        /// Leave out flows of which neither end, or both, could be the local one. Recorded, their source counts as local.
        public var ignoreUnknownDirection: Bool
        /// Leave out flows of a pod of another node that only pass the observing one, to or from outside: the pod's node tells
        /// of them too. Recorded, their other end counts as local.
        public var ignoreTransit: Bool
        /// Networks besides RFC 1918, link-local and loopback that count as private, such as 100.64.0.0/10.
        public var privateNetworks: [IPPrefix]
        /// What sets the column `connectionFlags`; at most ``ConnectionFlagRule/maximumCount`` rules.
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

    /// Why a flow is not recorded.
    public enum IgnoredReason: String, CaseIterable, Sendable {
        /// It is UDP, and ``Configuration/ignoreUDP`` is set.
        case udp
        /// One end is a node, and ``Configuration/ignoreNodeFlows`` is set.
        case node
        /// Neither end, or both, could be the local one, and ``Configuration/ignoreUnknownDirection`` is set.
        case unknownDirection = "unknown_direction"
        /// A pod of another node opened it to outside, and ``Configuration/ignoreTransit`` is set: an egress gateway's or a
        /// NAT node's part of what the pod's node tells.
        case transit
    }

    /// What becomes of a flow.
    public enum Outcome: Sendable {
        /// It is recorded.
        case labeled(LabeledFlow)
        /// It is only counted.
        case ignored(IgnoredReason)
    }

    /// The pods, nodes and services.
    public let index: ClusterIndex
    /// How flows are labelled at a moment: which are left out, and which flags are set.
    public struct Rules: Sendable {
        let configuration: Configuration
        let flagRules: ConnectionFlagRules

        /// The names of ``ConnectionFlags`` in the order of their bits; empty for bits without a rule.
        public var flagNames: [String] { flagRules.names }
    }

    let privateLabels: EndpointLabels
    let unlistedLabels = EndpointLabels()
    /// Of a local end that nobody of the cluster is, behind a node that nobody knows.
    let siteLabels: EndpointLabels
    private let site: Site
    private let rangeTable: Mutex<RangeTable>
    private let rulesStorage: Mutex<Rules>

    /// Makes a labeler for a cluster at `site`, without ranges.
    public init(index: ClusterIndex, site: Site, configuration: Configuration) {
        self.index = index
        self.site = site
        rulesStorage = Mutex(
            Rules(configuration: configuration, flagRules: ConnectionFlagRules(configuration.flagRules)))
        privateLabels = EndpointLabels(cloud: site.cloud, region: site.region)
        siteLabels = EndpointLabels(cloud: site.cloud, region: site.region, cluster: site.cluster)
        rangeTable = Mutex(RangeTable([], site: site, privateNetworks: configuration.privateNetworks))
    }

    /// Replaces what is known of public addresses; where a block is listed twice, its last range counts.
    public func setRanges(_ ranges: [CloudRange]) {
        let table = RangeTable(ranges, site: site, privateNetworks: rules.configuration.privateNetworks)
        rangeTable.withLock { $0 = table.with(privateNetworks: $0.privateNetworks) }
    }

    /// The rules that are in force now.
    public var rules: Rules { rulesStorage.withLock { $0 } }

    /// Puts other rules in force.
    ///
    /// A condition on labels is looked at when a pod comes. For a new one, the pods have to be told anew
    /// (``ClusterIndex/podStore()``); until then it is not met.
    public func apply(_ configuration: Configuration) {
        rulesStorage.withLock { rules in
            let flagRules = ConnectionFlagRules(configuration.flagRules, after: rules.flagRules)
            index.setPodFlags(flagRules)
            rules = Rules(configuration: configuration, flagRules: flagRules)
        }
        rangeTable.withLock { $0 = $0.with(privateNetworks: configuration.privateNetworks) }
    }

    var ranges: RangeTable { rangeTable.withLock { $0 } }

    /// Labels flows that were observed on a node at a moment.
    ///
    /// What the reader gives is good until `body` returns. Changes of the index wait for it: `body` has no more than about
    /// a thousand flows to label, and does not call this again.
    ///
    /// - Parameters:
    ///   - node: The node's name. The flows of one that nobody knows have no local pod.
    ///   - second: The moment in seconds since the Unix epoch.
    ///   - rules: The rules; those that are in force now where nothing is said.
    ///   - body: Labels flows.
    public func read<Result>(
        observedOn node: String, at second: UInt32, by rules: Rules? = nil,
        _ body: (borrowing LabelReader) throws -> Result
    ) rethrows -> Result {
        let ranges = ranges
        let rules = rules ?? self.rules
        return try index.read { tables in
            try body(
                LabelReader(labeler: self, rules: rules, tables: tables, ranges: ranges, node: node, second: second))
        }
    }
}
