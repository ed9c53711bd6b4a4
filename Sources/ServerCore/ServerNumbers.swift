// SPDX-License-Identifier: Apache-2.0

package import ClickHouse
package import CloudRanges
package import FlowBlocks
package import FlowIngest
import FlowModel
package import KubernetesAPI
package import Labeling
import Operations

/// The values behind the server's metrics and summaries. Those about flows are of one moment.
package struct ServerNumbers: Sendable {
    package var ingest = IngestStatistics()
    package var flows = FlowAssembler.Statistics()
    package var memory = BlockLedger.Memory()
    /// The outcomes of blocks in ClickHouse.
    package var blocks = SinkStatistics()
    package var inserts = Inserter.Statistics()
    package var doubts = DoubtSettlement.Statistics()
    package var index = ClusterIndex.Statistics()
    package var ranges = CloudRangeCatalog.Statistics()
    package var watches: [(name: String, statistics: ReflectorStatistics)] = []
    package var configuration = ConfigurationReload.Statistics()

    /// Makes numbers that are all zero.
    package init() {}
}

extension ServerNumbers {
    /// The blocks that ClickHouse rejected, for whatever reason.
    var rejected: BlockAmount { blocks.rejected.values.reduce(into: .init(), +=) }

    /// The agent connections rejected or closed, by type. Types without any are included, so that a rate covers the
    /// first one.
    var errors: [String: UInt64] {
        let types = IngestStatistics.errorReasons + ServiceAccountAuthenticator.Reason.allCases.map(\.rawValue)
        return types.reduce(into: ingest.errors) { $0[$1, default: 0] += 0 }
    }

    /// The flows that are not recorded, for whatever reason.
    var ignored: FlowAmount { flows.ignored.values.reduce(into: .init(), +=) }
}

extension SummaryService.Numbers {
    /// Creates the server's summary, logged once a minute.
    package init(_ numbers: ServerNumbers) {
        let (flows, blocks, lost) = (numbers.flows, numbers.blocks, numbers.rejected)
        let inserts = numbers.inserts
        self = [
            ("flows", .total(flows.received.flows)), ("bytes", .total(flows.received.bytes)),
            ("ignored_flows", .total(numbers.ignored.flows)), ("rows", .total(blocks.stored.rows)),
            ("inserted_bytes", .total(blocks.stored.reportedBytes)),
            ("lost_flows", .total(lost.flows &+ flows.dropped.flows)),
            ("lost_bytes", .total(lost.reportedBytes &+ flows.dropped.bytes)),
            ("failed_inserts", .total(inserts.failedAttempts.values.reduce(0, &+))),
            (
                "insert_ms",
                .mean(sum: inserts.successfulAttemptDuration.sum, of: inserts.successfulAttemptDuration.count)
            ),
            ("queued_rows", .present(blocks.queuedRows)), ("agents", .present(numbers.ingest.connectedAgents)),
        ]
    }
}
