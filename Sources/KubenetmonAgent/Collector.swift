// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import Glibc
import Operations

/// Takes what connections have carried out of the kernel, once an interval, and puts it into batches.
struct Collector: ~Copyable {
    /// What became of one collection.
    struct Report {
        var collection = ConntrackTable.Collection()
        /// Set where the collection ended early; what it had taken by then is in its batches all the same.
        var error: ConntrackError?
        var collectedFlows = 0
        var collectedBytes: UInt64 = 0
    }

    private var table: ConntrackTable
    private let filter: FlowFilter
    private let exporter: FlowExporter
    private var batcher: FlowBatcher

    init(
        mode: ConntrackTable.Mode, filter: FlowFilter, events: DestroyEvents, exporter: FlowExporter
    ) throws(ConntrackError) {
        table = try Self.openTable(mode, events)
        self.filter = filter
        self.exporter = exporter
        batcher = FlowBatcher(exporter: exporter, source: .scrape)
    }

    /// Asks the table for its size: a missing capability is told at once and not at the first collection.
    private static func openTable(
        _ mode: ConntrackTable.Mode, _ events: DestroyEvents
    ) throws(ConntrackError) -> ConntrackTable {
        var table = try ConntrackTable(mode: mode, events: events)
        _ = try table.count()
        return table
    }

    /// Prepares the first collection: finds out which conntrack zones there are.
    mutating func findZones() throws(ConntrackError) { try table.findZones() }

    /// Prepares the next collection to find out whether another program takes counters too.
    mutating func sample() throws(ConntrackError) { try table.sample() }

    /// Reads and zeroes the table once.
    ///
    /// - Parameter isLast: True where the agent ends with it.
    mutating func collect(isLast: Bool) -> Report {
        var report = Report()
        let observedAt = UInt64(WallClock.now().milliseconds)
        var patience = 1000
        (report.collection, report.error) = table.collect(
            filter, isLast: isLast,
            while: {
                // A large table is read faster than a server takes it: waiting keeps memory small.
                while exporter.isServerBehind && patience > 0 {
                    usleep(2000)
                    patience -= 1
                }
                return exporter.hasRoom
            },
            { flow in
                report.collectedFlows += 1
                report.collectedBytes &+= flow.bytes
                batcher.append(flow, observedAtMilliseconds: observedAt)
            })
        batcher.flush()
        return report
    }
}
