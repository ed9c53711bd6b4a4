// SPDX-License-Identifier: Apache-2.0

import Conntrack
import Logging
import Synchronization

/// Looks whether the kernel counts at all and has room to go on, and says what to do where it does not.
final class SelfCheck: Sendable {
    /// Something that must hold for counts to be right.
    enum Condition: String, CaseIterable, Sendable {
        /// `nf_conntrack_acct` is on.
        case accounting
        /// `nf_conntrack_events` is on.
        case events
        /// The table has room for new connections.
        case tableRoom = "table_room"
        /// Some entry has counted something by the time that the agent has run long enough.
        case counters
    }

    /// The share of the table's room above which it counts as nearly full.
    private static let nearlyFull = 0.9

    private let uptimeWait: Duration
    private let checksCounters: Bool
    private let logger: Logger
    private let start = ContinuousClock.now
    private let problemsStorage = Mutex<[Condition: String]>([:])

    /// - Parameters:
    ///   - uptimeWait: The agent's age from which on a table that has never shown a counter is a problem. A fresh agent
    ///     may find a table that its predecessor has just zeroed.
    ///   - checksCounters: Whether that is looked at.
    ///   - logger: Told when a problem appears, changes or goes.
    init(uptimeWait: Duration, checksCounters: Bool, logger: Logger) {
        self.uptimeWait = uptimeWait
        self.checksCounters = checksCounters
        self.logger = logger
    }

    /// What is wrong at the moment.
    var problems: [Condition: String] { problemsStorage.withLock { $0 } }

    /// Looks at everything. Called at start and after every collection.
    ///
    /// - Parameters:
    ///   - entries: Entries in the last collection.
    ///   - everCounted: Whether any entry has ever carried a counter.
    func look(entries: Int, everCounted: Bool) {
        var problems: [Condition: String] = [:]
        if ConntrackSettings.isAccountingEnabled == false {
            problems[.accounting] = """
                the kernel does not count, every flow reads zero: sysctl -w net.netfilter.nf_conntrack_acct=1, or start \
                the agent with --enable-accounting true
                """
        }
        if ConntrackSettings.events == 0 {
            problems[.events] = """
                the kernel does not tell of ended connections: those shorter than the interval are missed and the last \
                bytes of all others; sysctl -w net.netfilter.nf_conntrack_events=1
                """
        }
        if let count = ConntrackSettings.count, let maximum = ConntrackSettings.maximum,
            Double(count) >= Self.nearlyFull * Double(maximum)
        {
            problems[.tableRoom] = """
                the conntrack table is nearly full, and a full one drops new connections: raise \
                net.netfilter.nf_conntrack_max, now \(maximum)
                """
        }
        if checksCounters && !everCounted && entries > 0 && ContinuousClock.now - start >= uptimeWait {
            problems[.counters] = """
                no entry of the table has ever counted anything: was net.netfilter.nf_conntrack_acct turned on after \
                the connections were made?
                """
        }
        tell(problems)
    }

    private func tell(_ problems: [Condition: String]) {
        let before = problemsStorage.withLock { stored in
            defer { stored = problems }
            return stored
        }
        for condition in Condition.allCases where problems[condition] != before[condition] {
            if let problem = problems[condition] {
                logger.error("self-check: \(problem)", metadata: ["check": "\(condition.rawValue)"])
            } else {
                logger.notice("self-check: as it should be again", metadata: ["check": "\(condition.rawValue)"])
            }
        }
    }
}
