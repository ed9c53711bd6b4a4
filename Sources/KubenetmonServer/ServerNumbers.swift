// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowBlocks
import FlowIngest
import KubernetesAPI
import Labeling
import Operations

/// What the server's metrics and its summaries are made of. What tells of flows is of one moment.
struct ServerNumbers: Sendable {
    var ingest = IngestStatistics()
    var flows = FlowAssembler.Statistics()
    var memory = BlockLedger.Memory()
    /// What became of the blocks in ClickHouse.
    var blocks = SinkStatistics()
    var inserts = Inserter.Statistics()
    var index = ClusterIndex.Statistics()
    var ranges = CloudRangeCatalog.Statistics()
    var watches: [(name: String, statistics: ReflectorStatistics)] = []
    var configuration = ConfigurationReload.Statistics()
}

extension ServerNumbers {
    /// Everything that ClickHouse does not take, for whatever reason.
    var rejected: BlockAmount { blocks.rejected.values.reduce(into: .init(), +=) }

    /// Agents' connections refused or ended, by type, those of which there was none included: a rate begins with the first.
    var errors: [String: UInt64] {
        let types = IngestStatistics.errorReasons + ServiceAccountAuthenticator.Reason.allCases.map(\.rawValue)
        return types.reduce(into: ingest.errors) { $0[$1, default: 0] += 0 }
    }

    /// Everything that is not recorded, for whatever reason.
    var ignored: FlowAssembler.Statistics.Amount { flows.ignored.values.reduce(into: .init(), +=) }
}

extension SummaryService.Numbers {
    /// What the server says of itself once a minute.
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
