// SPDX-License-Identifier: Apache-2.0

import FlowExport
import FlowModel

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
    private let maximumWait: Duration
    private var batcher: FlowBatcher

    /// - Parameters:
    ///   - reader: The source of the flows.
    ///   - exporter: The destination of the flows.
    ///   - maximumWait: The time for which a collection waits at most for a server that is behind.
    init(_ reader: any FlowReader, exporter: FlowExporter, maximumWait: Duration) {
        self.reader = reader
        self.exporter = exporter
        self.maximumWait = maximumWait
        batcher = FlowBatcher(exporter: exporter, source: .scrape)
    }

    /// Collects once.
    ///
    /// - Parameter isLast: Whether the agent ends after this collection.
    mutating func collect(isLast: Bool) -> Report {
        var report = Report()
        let observedAt = UInt64(WallClock.now().milliseconds)
        var waitLeft = maximumWait
        report.collection = reader.collect(
            isLast: isLast,
            while: {
                // A large table is read faster than a server acknowledges it: waiting saves memory.
                if exporter.isServerBehind && waitLeft > .zero {
                    let begin = ContinuousClock.now
                    exporter.waitForServer(atMost: waitLeft)
                    waitLeft -= begin.duration(to: .now)
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
