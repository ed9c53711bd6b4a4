// SPDX-License-Identifier: Apache-2.0

package import FlowExport
import FlowModel
import Operations
import Synchronization

/// Puts the flows of ended connections into batches.
package final class EventBatches: Sendable {
    private struct Batches: ~Copyable {
        var batcher: FlowBatcher
        /// Flows that did not fit below the limit on unacknowledged batches.
        var lost = FlowAmount()
    }

    private let exporter: FlowExporter
    private let batches: Mutex<Batches>

    /// Makes batches for an exporter.
    package init(exporter: FlowExporter) {
        self.exporter = exporter
        batches = Mutex(Batches(batcher: FlowBatcher(exporter: exporter, source: .destroy)))
    }

    /// Flows that did not fit below the limit on unacknowledged batches.
    var lost: FlowAmount { batches.withLock { $0.lost } }

    /// Adds connections whose events have just been received.
    package func append(_ connections: [EndedConnection]) {
        let observedAt = UInt64(WallClock.now().milliseconds)
        batches.withLock { batches in
            for connection in connections {
                if exporter.hasRoomForEvents {
                    batches.batcher.append(connection.flow, observedAtMilliseconds: observedAt)
                } else {
                    batches.lost.add(connection.flow)
                }
            }
        }
    }

    /// Exports the gathered flows.
    func flush() { batches.withLock { $0.batcher.flush() } }
}
