// SPDX-License-Identifier: Apache-2.0

package import FlowExport
import FlowModel
import Synchronization

/// Puts the flows of ended connections into batches.
package final class EventBatches: Sendable {
    private let exporter: FlowExporter
    private let batcher: Mutex<FlowBatcher>

    /// Makes batches for an exporter.
    package init(exporter: FlowExporter) {
        self.exporter = exporter
        batcher = Mutex(FlowBatcher(exporter: exporter, source: .destroy))
    }

    /// Adds connections whose events have just been received.
    package func append(_ connections: [EndedConnection]) {
        let observedAt = UInt64(WallClock.now().milliseconds)
        var lost = FlowAmount()
        batcher.withLock { batcher in
            for connection in connections {
                if exporter.hasRoomForEvents {
                    batcher.append(connection.flow, observedAtMilliseconds: observedAt)
                } else {
                    lost.add(connection.flow)
                }
            }
        }
        if lost.flows > 0 { exporter.countLost(lost) }
    }

    /// Exports the gathered flows.
    func flush() { batcher.withLock { $0.flush() } }
}
