// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import FlowModel
import Synchronization

/// The pods, nodes and services of the clusters that have an address, or had it recently.
///
/// A read-write lock lets look-ups run in parallel; a change takes it only while it modifies the tables. A new list of
/// all pods, and tables that have to grow, are built beside the old tables and swapped in. A separate lock serializes
/// changes.
public final class ClusterIndex: Sendable {
    /// Seconds after its end during which a pod or node may still match: deletions are reported early.
    static let secondsAfterTheEnd: UInt32 = 120

    /// Seconds for which ended candidates are kept: flows that waited for a server for up to a week are accepted.
    static let secondsKept: UInt32 = 7 * 86_400

    /// Maximum number of ended candidates, over all addresses; above it, the earliest ended are evicted first.
    static let maximumEnded = 65_536

    /// Maximum number of ended candidates at one address: look-ups visit all of them.
    static let maximumEndedAtAddress = 8

    /// Maximum number of pods whose annotations claim one address: look-ups visit all of them.
    static let maximumClaimsAtAddress = 8

    /// Maximum number of service ports at one address.
    static let maximumServicesAtAddress = 256

    /// Maximum number of addresses and ports of one service.
    static let maximumPositionsOfService = 1_024

    /// Maximum number of ended candidates forgotten at a time, while look-ups wait.
    private static let forgottenAtOnce = 256

    /// Seconds after its end during which an owner of an address still wins over an owner that starts later.
    static let secondsJustAfterTheEnd: UInt32 = 10

    /// Seconds after a watch's last event during which the state it reported counts as current.
    static let secondsBetweenSigns: UInt32 = 90

    /// Seconds before its start during which a pod may already match: a batch may cover a whole minute.
    static let secondsBeforeTheStart = FlowInterval.seconds

    /// The numbers of known objects of all clusters.
    public struct Statistics: Equatable, Sendable {
        /// Pods outside the host network that are not terminated.
        public internal(set) var pods = 0
        /// Nodes.
        public internal(set) var nodes = 0
        /// Services.
        public internal(set) var services = 0
        /// ReplicaSets.
        public internal(set) var replicaSets = 0

        /// Makes the statistics of an empty index.
        public init() {}
    }

    /// The location of each cluster's endpoints, by ``ClusterID``.
    let sites: [Site]
    private let now: @Sendable () -> UInt32
    /// The tables that look-ups read.
    private let tables: ReadWriteLock<EndpointTables>
    /// The state that only changes need.
    private let records: Mutex<ClusterRecords>
    /// Separate from the records, so that reading the statistics never waits for a change.
    private let statisticsStorage = Mutex(Statistics())

    /// Makes an empty index of one cluster; see ``init(sites:flagRules:now:)``.
    public convenience init(
        site: Site, flagRules: [ConnectionFlagRule] = [],
        now: @escaping @Sendable () -> UInt32 = WallClock.seconds
    ) {
        self.init(sites: [site], flagRules: flagRules, now: now)
    }

    /// Makes an empty index.
    ///
    /// - Parameters:
    ///   - sites: The location of each cluster's endpoints, by ``ClusterID``; from 1 to 256 clusters.
    ///   - flagRules: The rules whose conditions on pod labels are evaluated when a pod is added.
    ///   - now: Returns the current time in seconds since the Unix epoch.
    public init(
        sites: [Site], flagRules: [ConnectionFlagRule] = [],
        now: @escaping @Sendable () -> UInt32 = WallClock.seconds
    ) {
        precondition((1...256).contains(sites.count), "a cluster's identity is a byte")
        self.sites = sites
        self.now = now
        tables = ReadWriteLock(EndpointTables(clusters: sites.count))
        records = Mutex(ClusterRecords(sites: sites, podFlags: ConnectionFlagRules(flagRules)))
    }

    /// Replaces the rules whose conditions on pod labels are evaluated when a pod is added.
    func setPodFlags(_ rules: ConnectionFlagRules) { records.withLock { $0.podFlags = rules } }

    /// Replaces the host addresses of a node with the report of its agent; at most 256 addresses are kept.
    public func setHostAddresses(
        _ addresses: [IPAddress], ofNode name: String, in cluster: ClusterID = .first
    ) {
        let node = NodeKey(cluster: cluster, name: name)
        change { records, tables, _ in records.change(hostAddresses: addresses, of: node, tables) }
    }

    /// The numbers of known objects.
    public var statistics: Statistics { statisticsStorage.withLock { $0 } }

    /// Reads the tables. `body` must not begin another read.
    func read<Result>(_ body: (UnsafePointer<EndpointTables>) throws -> Result) rethrows -> Result {
        try tables.read(body)
    }

    /// Calls `body` with the records, and applies the change that it returns, if any, to the tables in place.
    func change(_ body: (inout ClusterRecords, borrowing EndpointTables, _ now: UInt32) -> ChangeOfTables?) {
        let now = now()
        records.withLock { records in
            // The lock of the records excludes other changes of the tables.
            let change = tables.read { tables in body(&records, tables.pointee, now) }
            guard change != nil || records.hasEnded(now: now) else { return }
            records.makeRoom()
            guard tables.read({ $0.pointee.hasRoom }) else {
                return changeBeside(&records, now) { records, tables in
                    tables.makeRoom()
                    change?(&records, &tables, now)
                }
            }
            tables.write { tables in
                change?(&records, &tables, now)
                records.settle(&tables, now: now)
                records.forgetEnded(&tables, now: now, atMost: Self.forgottenAtOnce)
            }
            finish(&records)
        }
    }

    /// Changes a copy of the tables and swaps it in.
    func replace(_ body: ChangeOfTables) {
        let now = now()
        records.withLock { records in
            changeBeside(&records, now) { records, tables in body(&records, &tables, now) }
        }
    }

    private func changeBeside(
        _ records: inout ClusterRecords, _ now: UInt32, _ body: (inout ClusterRecords, inout EndpointTables) -> Void
    ) {
        var next = tables.read { EndpointTables(copying: $0.pointee) }
        body(&records, &next)
        records.settle(&next, now: now)
        records.forgetEnded(&next, now: now)
        tables.write { swap(&$0, &next) }
        finish(&records)
    }

    typealias ChangeOfTables = (inout ClusterRecords, inout EndpointTables, _ now: UInt32) -> Void

    private func finish(_ records: inout ClusterRecords) {
        // Labels that are no longer referenced are freed after the tables are unlocked, so that look-ups do not wait.
        _ = records.takeRetired()
        let statistics = records.statistics
        statisticsStorage.withLock { $0 = statistics }
    }
}
