// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import Operations

extension MetricsPage {
    /// The agent's metrics. The names of the first five are kubenetmon's.
    init(collection: CollectionService.Statistics, export: FlowExporter.Statistics) {
        self.init()
        add(
            .counter, "kubenetmon_collector_errors_total", "Failures by type.", label: "type",
            [("collection_failed", collection.failedCollections), ("send_failed", export.failedConnections)])
        add(
            .counter, "kubenetmon_collector_processed_flows_total", "Conntrack entries by what became of them.",
            label: "type",
            [("sent", collection.collectedFlows), ("ignored", collection.ignored.values.reduce(0, +))])
        add(
            .gauge, "kubenetmon_collector_last_collection_duration_us",
            "Duration of the last collection in microseconds.",
            Int(collection.lastDuration / .microseconds(1)))
        add(
            .gauge, "kubenetmon_collector_last_successful_collection_timestamp_unix_seconds",
            "When the last collection without an error ended.", collection.lastSuccess)
        add(
            .counter, "kubenetmon_agent_ignored_flows_total", "Conntrack entries that were left out, by reason.",
            label: "reason", FlowFilter.Reason.allCases.map { ($0.rawValue, collection.ignored[$0] ?? 0) })
        add(
            .counter, "kubenetmon_agent_collected_bytes_total", "Network bytes taken out of the kernel's counters.",
            collection.collectedBytes)
        add(
            .counter, "kubenetmon_agent_acknowledged_bytes_total",
            "Network bytes that the server has acknowledged to be in ClickHouse.", export.acknowledgedReportedBytes)
        add(
            .counter, "kubenetmon_agent_acknowledged_flows_total",
            "Flows that the server has acknowledged to be in ClickHouse.", export.acknowledgedFlows)
        add(
            .gauge, "kubenetmon_agent_unacknowledged_frame_bytes",
            "Bytes of batches that wait for their acknowledgement.", export.unacknowledgedBytes)
        add(
            .counter, "kubenetmon_agent_unknown_acknowledgements_total",
            "Acknowledgements of batches that did not wait for one.", export.unknownAcknowledgements)
        add(
            .counter, "kubenetmon_agent_skipped_collections_total",
            "Collections that were left to the kernel because too much waited for an acknowledgement.",
            collection.skippedCollections)
        add(
            .counter, "kubenetmon_agent_boundary_hits_total",
            "Entries whose original direction the kernel zeroed unread at the boundary between two messages.",
            collection.boundaryHits)
        add(
            .counter, "kubenetmon_agent_malformed_entries_total", "Conntrack entries that could not be read.",
            collection.malformedEntries)
        add(
            .gauge, "kubenetmon_agent_conntrack_entries", "Conntrack entries in the last collection.",
            collection.tableEntries)
        add(
            .gauge, "kubenetmon_agent_server_connected", "Whether a server is connected.", export.isConnected)
        add(
            .counter, "kubenetmon_agent_connections_total", "Connections to a server that were opened.",
            export.connections)
    }
}
