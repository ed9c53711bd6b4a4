// SPDX-License-Identifier: Apache-2.0

public import FlowCollection
public import FlowModel
public import Logging

/// The connection table as a source of flows.
public final class ConntrackReader: FlowReader {
    private var table: ConntrackTable
    private let filter: FlowFilter
    private let logger: Logger
    private let conntrackEvents: ConntrackEvents

    /// The kernel's events of ended connections.
    public var events: any ConnectionEvents { conntrackEvents }

    /// Opens the table, and asks it for its size: a missing capability is told at once and not at the first collection.
    ///
    /// - Parameters:
    ///   - mode: How counters are taken out of the kernel.
    ///   - filter: Which entries to report.
    ///   - events: The events of ended connections, heard already: what ends during the first collection is not missed.
    ///   - logger: Told where conntrack zones cannot be looked for.
    public init(
        mode: ConntrackTable.Mode, filter: FlowFilter, events: ConntrackEvents, logger: Logger
    ) throws(ConntrackError) {
        table = try Self.openTable(mode, events.events)
        self.filter = filter
        self.logger = logger
        conntrackEvents = events
    }

    private static func openTable(
        _ mode: ConntrackTable.Mode, _ events: DestroyEvents
    ) throws(ConntrackError) -> ConntrackTable {
        var table = try ConntrackTable(mode: mode, events: events)
        _ = try table.count()
        return table
    }

    /// Finds out which conntrack zones there are.
    public func prepare() {
        do throws(ConntrackError) {
            try table.findZones()
        } catch {
            logger.warning(
                "cannot look up conntrack zones; each is detected when it appears", metadata: ["error": "\(error)"])
        }
    }

    /// Prepares the next collection to find out whether another program takes counters too.
    public func sample() throws(ConntrackError) { try table.sample() }

    /// Reads and zeroes the table once.
    public func collect(
        isLast: Bool, while shouldContinue: () -> Bool, _ body: (Flow) -> Void
    ) -> CollectionReport {
        let (collection, error) = table.collect(filter, isLast: isLast, while: shouldContinue, body)
        return CollectionReport(collection, error)
    }
}

extension CollectionReport {
    fileprivate init(_ collection: ConntrackTable.Collection, _ error: ConntrackError?) {
        self.init()
        entries = collection.entries
        ignored = collection.ignored
        malformedEntries = collection.malformedEntries
        goneEntries = collection.goneEntries
        lostAnswers = collection.lostAnswers
        refusedEntries = collection.refusedEntries
        refusal = collection.refusal
        boundaryHits = collection.boundaryHits
        isInterrupted = collection.isInterrupted
        isCutShort = collection.isCutShort
        self.error = error
    }
}
