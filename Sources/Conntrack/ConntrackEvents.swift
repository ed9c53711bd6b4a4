// SPDX-License-Identifier: Apache-2.0

public import FlowCollection

/// The kernel's events as those of a source of flows.
public final class ConntrackEvents: ConnectionEvents {
    /// The kernel's events.
    public let events: DestroyEvents
    private let selfCheck: ConntrackSelfCheck

    /// Adds to events what they find out about the kernel.
    public init(_ events: DestroyEvents, selfCheck: ConntrackSelfCheck) {
        self.events = events
        self.selfCheck = selfCheck
    }

    /// What logs call the events.
    public var name: String { "conntrack events" }

    /// The number of events that fit the socket's buffer.
    public var capacity: Int { events.receiveBuffer / DestroyEvents.chargePerEvent }

    /// The most events that one call of ``receive()`` takes.
    public var maximumReceived: Int { DestroyEvents.maximumReceived }

    /// What has been received so far.
    public var statistics: EventStatistics { EventStatistics(events.statistics) }

    /// What is counted of the table and its events beside flows.
    public var counters: [ReaderCounter] {
        let received = events.statistics
        return [
            ReaderCounter(
                "kubenetmon_agent_foreign_datagrams_total",
                "Datagrams from another process on the socket for conntrack events; they are discarded.",
                received.foreignDatagrams),
            ReaderCounter(
                "kubenetmon_agent_foreign_resets_total",
                "Sampled conntrack entries whose counters another program zeroed between two collections.",
                received.foreignResets),
            ReaderCounter(
                "kubenetmon_agent_merged_zone_connections_total",
                "Connections found in more than one conntrack zone; each is counted once.",
                received.mergedConnections),
            ReaderCounter(
                "kubenetmon_agent_unmerged_zone_entries_total",
                "Conntrack entry reports counted once per zone: too many connections are in several zones.",
                received.unmergedEntries),
        ]
    }

    /// Conditions of conntrack that do not hold.
    public var problems: [SelfCheck.Condition: String] { selfCheck.problems(events.statistics) }

    /// Waits until events have come.
    public func wait(milliseconds: Int) { events.wait(milliseconds: milliseconds) }

    /// Ends all current and future waits. Callable from any thread.
    public func interrupt() { events.interrupt() }

    /// Takes events that have come and hands on their connections.
    public func receive() throws(ConntrackError) -> Int { try events.receive() }
}

extension EventStatistics {
    fileprivate init(_ statistics: DestroyEvents.Statistics) {
        self.init()
        events = statistics.events
        ignored = statistics.ignored
        overruns = statistics.overruns
        droppedEvents = statistics.droppedEvents
        droppedBytesEstimate = statistics.droppedBytesEstimate
        malformedEvents = statistics.malformedEvents
    }
}
