// SPDX-License-Identifier: Apache-2.0

import FlowExport
import FlowModel
import Glibc
import Operations

/// Collects flows from a reader and puts them into batches.
struct Collector: ~Copyable {
    /// The result of one collection.
    struct Report {
        /// The reader's report. Flows read before an error are in batches too.
        var collection = CollectionReport()
        /// The flows put into batches.
        var collected = FlowAmount()
    }

    let reader: any FlowReader
    private let exporter: FlowExporter
    private var batcher: FlowBatcher

    init(_ reader: any FlowReader, exporter: FlowExporter) {
        self.reader = reader
        self.exporter = exporter
        batcher = FlowBatcher(exporter: exporter, source: .scrape)
    }

    /// Collects once.
    ///
    /// - Parameter isLast: Whether the agent ends after this collection.
    mutating func collect(isLast: Bool) -> Report {
        var report = Report()
        let observedAt = UInt64(WallClock.now().milliseconds)
        var patience = 1000
        report.collection = reader.collect(
            isLast: isLast,
            while: {
                // A large table is read faster than a server acknowledges it: waiting, for about 2 s at most, saves
                // memory.
                while exporter.isServerBehind && patience > 0 {
                    usleep(2000)
                    patience -= 1
                }
                return exporter.hasRoom
            },
            { flow in
                report.collected.add(flow)
                batcher.append(flow, observedAtMilliseconds: observedAt)
            })
        batcher.flush()
        return report
    }
}
