// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import Glibc
import Synchronization

/// Which pod, node or service of the cluster has an address, and had it a moment ago.
///
/// One lock lets many look up at once and is taken for a change only as long as the change itself takes; a new set of
/// all pods, and tables that have to grow, are made beside the old ones and put in their place. Those who change wait for
/// each other at a lock of their own.
public final class ClusterIndex: Sendable {
    /// For how many seconds beyond its end a pod or node may still be meant: deletions are heard of early.
    static let secondsAfterTheEnd: UInt32 = 120

    /// For how many seconds it is known who had an address: flows that waited for a server for a week are believed.
    static let secondsKept: UInt32 = 7 * 86_400

    /// The most who had an address and have it no more, over all addresses; of more, those that ended first are forgotten.
    static let maximumEnded = 65_536

    /// The same of one address: look-ups go through all of them.
    static let maximumEndedAtAddress = 8

    /// The most pods that are found by what their annotations claim of one address: look-ups go through all of them.
    static let maximumClaimsAtAddress = 8

    /// The most ports of services that are found at one address.
    static let maximumServicesAtAddress = 256

    /// The most addresses and ports at which one service is found.
    static let maximumPositionsOfService = 1_024

    /// The most addresses that are forgotten while look-ups wait.
    private static let forgottenAtOnce = 256

    /// For how many seconds nobody else is asked about the address.
    static let secondsJustAfterTheEnd: UInt32 = 10

    /// For how many seconds what a watch has told is the present state of things.
    static let secondsBetweenSigns: UInt32 = 90

    /// How many seconds before its start a pod may have an address: a batch may tell of a whole minute.
    static let secondsBeforeTheStart = FlowInterval.seconds

    /// How much is known.
    public struct Statistics: Equatable, Sendable {
        /// Pods outside the host network that are not terminated.
        public internal(set) var pods = 0
        /// Nodes.
        public internal(set) var nodes = 0
        /// Services.
        public internal(set) var services = 0
        /// ReplicaSets.
        public internal(set) var replicaSets = 0

        /// Nothing is known.
        public init() {}
    }

    private let now: @Sendable () -> UInt32
    /// What readers see.
    private let tables = ReadWriteLock(EndpointTables())
    /// What only those who change need.
    private let records: Mutex<ClusterRecords>
    /// Apart from the records: it is asked for by those who must not wait for a change.
    private let statisticsStorage = Mutex(Statistics())

    /// Makes an empty index.
    ///
    /// - Parameters:
    ///   - site: Where all of the cluster's endpoints stand.
    ///   - flagRules: The rules whose conditions on pods' labels are looked at when a pod comes.
    ///   - now: The present moment in seconds since the Unix epoch.
    public init(
        site: Site, flagRules: [ConnectionFlagRule] = [],
        now: @escaping @Sendable () -> UInt32 = ClusterIndex.secondsSinceTheEpoch
    ) {
        self.now = now
        records = Mutex(ClusterRecords(site: site, podFlags: ConnectionFlagRules(flagRules)))
    }

    /// Looks at the conditions of these rules from now on when a pod comes.
    func setPodFlags(_ rules: ConnectionFlagRules) { records.withLock { $0.podFlags = rules } }

    /// The system's clock in seconds since the Unix epoch.
    public static let secondsSinceTheEpoch: @Sendable () -> UInt32 = { UInt32(clamping: time(nil)) }

    /// Notes which addresses a node's host has, as its agent tells them; of at most 256.
    public func setHostAddresses(_ addresses: [IPAddress], ofNode name: String) {
        change { records, tables, _ in records.change(hostAddresses: addresses, ofNode: name, tables) }
    }

    /// How much is known.
    public var statistics: Statistics { statisticsStorage.withLock { $0 } }

    /// Reads what is known. `body` must not begin another reading.
    func read<Result>(_ body: (UnsafePointer<EndpointTables>) throws -> Result) rethrows -> Result {
        try tables.read(body)
    }

    /// Looks at the records, and changes the tables in place where `body` returns what there is to change.
    func change(_ body: (inout ClusterRecords, borrowing EndpointTables, _ now: UInt32) -> ChangeOfTables?) {
        let now = now()
        records.withLock { records in
            // Nobody else changes the tables meanwhile.
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

    /// Makes changed tables beside those that are in use, and then uses them.
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
        // What nobody refers to any more is let go of behind the lock of the tables.
        _ = records.takeRetired()
        let statistics = records.statistics
        statisticsStorage.withLock { $0 = statistics }
    }
}
