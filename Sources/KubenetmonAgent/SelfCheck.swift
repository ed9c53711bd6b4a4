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
        /// No other program zeroes counters.
        case soleReader = "sole_reader"
        /// No connection stands in more than one conntrack zone.
        case zones
        /// The spool directory, where one is set, holds what is unacknowledged; the exporter looks after it.
        case spool
        /// No other process holds the name of this network namespace's lock.
        case instanceLock = "instance_lock"
    }

    /// What collections and events have found.
    struct Findings {
        /// Entries in the last collection.
        var entries = 0
        /// True once an entry has carried a counter.
        var everCounted = false
        /// Entries whose counters another program has zeroed, since the agent started.
        var foreignResets: UInt64 = 0
        /// Two zones in which one connection was found.
        var zones: String?
    }

    /// Time after the last reset by another program in which the condition is reported.
    private static let resetMemory: Duration = .seconds(600)

    /// The share of the table's room above which it counts as nearly full.
    private static let nearlyFull = 0.9

    private let uptimeWait: Duration
    private let checksCounters: Bool
    private let logger: Logger
    private let start = ContinuousClock.now
    private let settings: ConntrackSettings
    private let problemsStorage = Mutex<[Condition: String]>([:])
    private let reportedProblems = Mutex<[Condition: String]>([:])
    private let lastReset = Mutex<(count: UInt64, time: ContinuousClock.Instant?)>((0, nil))

    /// - Parameters:
    ///   - uptimeWait: The agent's age from which on a table that has never shown a counter is a problem. A fresh agent
    ///     may find a table that its predecessor has just zeroed.
    ///   - checksCounters: Whether that is looked at.
    ///   - settings: The kernel's settings.
    ///   - logger: Told when a problem appears, changes or goes.
    init(
        uptimeWait: Duration, checksCounters: Bool, settings: ConntrackSettings = ConntrackSettings(), logger: Logger
    ) {
        self.settings = settings
        self.uptimeWait = uptimeWait
        self.checksCounters = checksCounters
        self.logger = logger
    }

    /// What is wrong at the moment.
    var problems: [Condition: String] { problemsStorage.withLock { $0 } }

    /// Checks every condition. Called at start and after every collection.
    func look(_ findings: Findings = Findings()) {
        var problems = reportedProblems.withLock { $0 }
        if settings.isAccountingEnabled == false {
            problems[.accounting] = """
                the kernel does not count, every flow reads zero: sysctl -w net.netfilter.nf_conntrack_acct=1, or start \
                the agent with --enable-accounting true
                """
        }
        if settings.events == 0 {
            let remedy =
                settings.canSendEvents
                ? "sysctl -w net.netfilter.nf_conntrack_events=1"
                : "run a kernel with CONFIG_NF_CONNTRACK_EVENTS, and until then a short COLLECTION_INTERVAL"
            problems[.events] = """
                the kernel does not tell of ended connections: those shorter than the interval are missed and the last \
                bytes of all others; \(remedy)
                """
        }
        if let count = settings.count, let maximum = settings.maximum,
            Double(count) >= Self.nearlyFull * Double(maximum)
        {
            problems[.tableRoom] = """
                the conntrack table is nearly full, and a full one drops new connections: raise \
                net.netfilter.nf_conntrack_max, now \(maximum)
                """
        }
        if checksCounters && !findings.everCounted && findings.entries > 0 && ContinuousClock.now - start >= uptimeWait
        {
            problems[.counters] = """
                no entry of the table has ever counted anything: was net.netfilter.nf_conntrack_acct turned on after \
                the connections were made?
                """
        }
        if hasRecentReset(findings.foreignResets) {
            problems[.soleReader] = """
                another program takes counters out of the conntrack table, and what it takes is missing here: stop it \
                (another kubenetmon agent, conntrack -L -z), or give the agent a node of its own
                """
        }
        if let zones = findings.zones {
            problems[.zones] = """
                connections stand in several conntrack zones, such as \(zones), as with CNIs that track at every hop; \
                each is counted once. If these are different connections with the same addresses, choose zones with \
                CONNTRACK_ZONES
                """
        }
        tell(problems)
    }

    /// Reports a condition that is checked elsewhere; it holds where `problem` is nil.
    func report(_ condition: Condition, _ problem: String?) {
        reportedProblems.withLock { $0[condition] = problem }
        var problems = problems
        problems[condition] = problem
        tell(problems)
    }

    private func hasRecentReset(_ resets: UInt64) -> Bool {
        lastReset.withLock { last in
            if resets > last.count { last = (resets, .now) }
            return last.time.map { .now - $0 < Self.resetMemory } ?? false
        }
    }

    private func tell(_ problems: [Condition: String]) {
        let before = problemsStorage.withLock { stored in
            defer { stored = problems }
            return stored
        }
        for condition in Condition.allCases where problems[condition] != before[condition] {
            // Another pair of zones is no news.
            if condition == .zones && (problems[condition] == nil) == (before[condition] == nil) { continue }
            if let problem = problems[condition] {
                logger.log(
                    level: condition == .zones ? .notice : .error, "self-check: \(problem)",
                    metadata: ["check": "\(condition.rawValue)"])
            } else {
                logger.notice("self-check passed again", metadata: ["check": "\(condition.rawValue)"])
            }
        }
    }
}
