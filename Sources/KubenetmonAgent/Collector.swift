// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import FlowModel
import FlowWire
import Operations

/// Takes what connections have carried out of the kernel and puts it into batches.
struct Collector: ~Copyable {
    /// What became of one collection.
    struct Report {
        var collection = ConntrackTable.Collection()
        /// Set where the collection ended early; what it had taken by then is in its batches all the same.
        var error: ConntrackError?
        var collectedFlows = 0
        var collectedBytes: UInt64 = 0
        var ignored: [FlowFilter.Reason: Int] = [:]
    }

    private var table: ConntrackTable
    private let filter: FlowFilter
    private var ipv4 = FlowBatchBuilder(family: .ipv4)
    private var ipv6 = FlowBatchBuilder(family: .ipv6)
    private var lastSequence: UInt64 = 0

    init(filter: FlowFilter) throws(ConntrackError) {
        table = try Self.openTable()
        self.filter = filter
    }

    /// Asks the table for its size: a missing capability is told at once and not at the first collection.
    private static func openTable() throws(ConntrackError) -> ConntrackTable {
        var table = try ConntrackTable()
        _ = try table.count()
        return table
    }

    /// Reads and zeroes the table once. `deliver` gets each batch as soon as it is full, the rest at the end.
    mutating func collect(deliver: (ExportBatch) -> Void) -> Report {
        var report = Report()
        let observedAt = UInt64(WallClock.now().milliseconds)
        (report.collection, report.error) = table.dumpAndZero { flow in
            if let reason = filter.reasonToIgnore(flow) {
                report.ignored[reason, default: 0] += 1
                return
            }
            report.collectedFlows += 1
            report.collectedBytes &+= flow.bytes
            if flow.isIPv4 {
                ipv4.append(flow)
                if ipv4.isFull { deliver(Self.batch(from: &ipv4, &lastSequence, observedAt)) }
            } else {
                ipv6.append(flow)
                if ipv6.isFull { deliver(Self.batch(from: &ipv6, &lastSequence, observedAt)) }
            }
        }
        if ipv4.count > 0 { deliver(Self.batch(from: &ipv4, &lastSequence, observedAt)) }
        if ipv6.count > 0 { deliver(Self.batch(from: &ipv6, &lastSequence, observedAt)) }
        return report
    }

    private static func batch(
        from builder: inout FlowBatchBuilder, _ lastSequence: inout UInt64, _ observedAt: UInt64
    ) -> ExportBatch {
        lastSequence += 1
        let (flows, bytes) = (builder.count, builder.reportedBytes)
        return ExportBatch(
            sequence: lastSequence,
            frame: builder.takeFrame(sequence: lastSequence, observedAtMilliseconds: observedAt),
            flows: flows, reportedBytes: bytes)
    }
}
