// SPDX-License-Identifier: Apache-2.0

public import FlowCollection
import Synchronization

extension SelfCheck.Condition {
    /// `nf_conntrack_acct` is on.
    public static let accounting = SelfCheck.Condition("accounting")
    /// `nf_conntrack_events` is on.
    public static let events = SelfCheck.Condition("events")
    /// The table has room for new connections.
    static let tableRoom = SelfCheck.Condition("table_room")
    /// No other program zeroes counters.
    static let soleReader = SelfCheck.Condition("sole_reader")
    /// No connection stands in more than one conntrack zone.
    public static let zones = SelfCheck.Condition("zones", isAdvisory: true)
}

/// Looks whether the kernel counts at all and has room to go on, and says what to do where it does not.
public final class ConntrackSelfCheck: Sendable {
    /// Every condition in ``problems(_:)``.
    public static let conditions: [SelfCheck.Condition] = [.accounting, .events, .tableRoom, .soleReader, .zones]

    /// The problem of a table whose entries have never counted, and what to do about it.
    public static let neverCounted = """
        no conntrack entry has ever had a non-zero counter: if net.netfilter.nf_conntrack_acct was turned on after the \
        connections were opened, only new connections are counted
        """

    /// Time after the last reset by another program in which the condition is reported.
    private static let resetMemory: Duration = .seconds(600)

    /// The share of the table's room above which it counts as nearly full.
    private static let nearlyFull = 0.9

    private let settings: ConntrackSettings
    private let lastReset = Mutex<(count: UInt64, time: ContinuousClock.Instant?)>((0, nil))

    /// Makes a check of the kernel's settings.
    public init(settings: ConntrackSettings = ConntrackSettings()) { self.settings = settings }

    /// Returns the conditions that do not hold, each with what to do about it.
    ///
    /// - Parameter received: What events and collections have found.
    public func problems(
        _ received: DestroyEvents.Statistics = DestroyEvents.Statistics()
    ) -> [SelfCheck.Condition: String] {
        var problems: [SelfCheck.Condition: String] = [:]
        if settings.isAccountingEnabled == false {
            problems[.accounting] = """
                the kernel does not count, so every counter reads zero: run sysctl -w \
                net.netfilter.nf_conntrack_acct=1, or start the agent with --enable-accounting true
                """
        }
        if settings.events == 0 {
            let remedy =
                settings.canSendEvents
                ? "run sysctl -w net.netfilter.nf_conntrack_events=1"
                : "use a kernel with CONFIG_NF_CONNTRACK_EVENTS, and until then a short COLLECTION_INTERVAL"
            problems[.events] = """
                the kernel sends no events for ended connections: connections shorter than the collection interval are \
                missed, and the last bytes of all others; \(remedy)
                """
        }
        if let count = settings.count, let maximum = settings.maximum,
            Double(count) >= Self.nearlyFull * Double(maximum)
        {
            problems[.tableRoom] = """
                the conntrack table is nearly full, and the kernel drops new connections when it is full: raise \
                net.netfilter.nf_conntrack_max, now \(maximum)
                """
        }
        if hasRecentReset(received.foreignResets) {
            problems[.soleReader] = """
                another program zeroes counters of the conntrack table, and the agent misses what they counted: \
                stop that program (another kubenetmon agent, conntrack -L -z), or run the two on different nodes
                """
        }
        if let zones = received.zones {
            problems[.zones] = """
                connections exist in several conntrack zones, such as \(zones), as with CNIs that track at every hop; \
                each is counted once. If these are different connections with the same addresses, select zones with \
                CONNTRACK_ZONES
                """
        }
        return problems
    }

    private func hasRecentReset(_ resets: UInt64) -> Bool {
        lastReset.withLock { last in
            if resets > last.count { last = (resets, .now) }
            return last.time.map { .now - $0 < Self.resetMemory } ?? false
        }
    }
}
