// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowBlocks
import FlowIngest
import FlowModel
import KubernetesAPI
import Labeling
import Operations

/// The values behind the server's metrics and summaries. Those about flows are of one moment.
struct ServerNumbers: Sendable {
    var ingest = IngestStatistics()
    var flows = FlowAssembler.Statistics()
    var memory = BlockLedger.Memory()
    /// The outcomes of blocks in ClickHouse.
    var blocks = SinkStatistics()
    var inserts = Inserter.Statistics()
    var doubts = DoubtSettlement.Statistics()
    var index = ClusterIndex.Statistics()
    var ranges = CloudRangeCatalog.Statistics()
    var watches: [(name: String, statistics: ReflectorStatistics)] = []
    var configuration = ConfigurationReload.Statistics()
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
    init(_ numbers: ServerNumbers) {
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
