// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import FlowIngest
import Operations

extension MetricsPage {
    /// The server's metrics. The names that begin with `kubenetmon_worker_`, and the first two, are kubenetmon's.
    init(ingest: IngestStatistics, flows: FlowAssembler.Statistics, inserts: Inserter.Statistics) {
        self.init()
        let ignored = flows.ignored.sorted { $0.key < $1.key }
        add(
            .counter, "kubenetmon_server_errors_total", "Agents' connections ended for what they sent, by type.",
            label: "type", ingest.errors.sorted { $0.key < $1.key })
        add(
            .counter, "kubenetmon_server_processed_observations_total", "Flows received, by what became of them.",
            label: "type",
            [("labeled", flows.labeled.flows), ("ignored", ignored.reduce(0) { $0 + $1.value.flows })])
        add(
            .counter, "kubenetmon_server_labeled_bytes_total", "Network bytes of flows that are recorded.",
            flows.labeled.bytes)
        add(
            .counter, "kubenetmon_server_ignored_flows_total", "Flows that are not recorded, by reason.",
            label: "reason", ignored.map { ($0.key, $0.value.flows) })
        add(
            .counter, "kubenetmon_server_ignored_bytes_total",
            "Network bytes of flows that are not recorded, by reason.",
            label: "reason", ignored.map { ($0.key, $0.value.bytes) })
        add(
            .gauge, "kubenetmon_server_connected_agents", "Agents that are connected.", ingest.connectedAgents)
        add(
            .counter, "kubenetmon_server_connections_total", "Agents' connections accepted.", ingest.connections)
        add(
            .counter, "kubenetmon_server_batches_total", "Batches received from agents.", ingest.batches)
        add(
            .counter, "kubenetmon_worker_rows_total", "Rows by what became of them.", label: "type",
            [("inserted", inserts.insertedRows)])
        add(
            .counter, "kubenetmon_worker_batches_total", "Inserts by what became of them.", label: "type",
            [("inserted", inserts.insertedBlocks)])
        add(
            .counter, "kubenetmon_worker_inserted_bytes_total", "Network bytes that the inserted rows report.",
            inserts.insertedReportedBytes)
        add(
            .counter, "kubenetmon_worker_insert_retries_total", "Inserts that failed and are tried again, by reason.",
            label: "reason", inserts.failedAttempts.sorted { $0.key < $1.key })
        add(
            .gauge, "kubenetmon_worker_queued_rows", "Rows that wait for ClickHouse.", inserts.queuedRows)
    }
}
