// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowIngest
import Kubernetes
import Labeling
import Operations
import TransportSecurity

extension MetricsPage {
    /// The server's metrics. The names that begin with `kubenetmon_worker_`, and the first two, are kubenetmon's.
    init(ingest: IngestStatistics, flows: FlowAssembler.Statistics, inserts: Inserter.Statistics) {
        self.init()
        let ignored = flows.ignored.sorted { $0.key < $1.key }
        add(
            .counter, "kubenetmon_server_errors_total",
            "Connections refused or ended for what their peer sent or is, by type.",
            label: "type", ingest.errors.sorted { $0.key < $1.key })
        add(
            .counter, "kubenetmon_server_processed_observations_total", "Flows received, by what became of them.",
            label: "type",
            [
                ("labeled", flows.labeled.flows), ("ignored", ignored.reduce(0) { $0 + $1.value.flows }),
                ("dropped", flows.dropped.flows),
            ])
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
            .counter, "kubenetmon_server_incredible_times_total",
            "Batches whose time could not be true, and which were given that of their arrival: look at the nodes' clocks.",
            flows.incredibleTimes)
        add(
            .gauge, "kubenetmon_server_connected_agents", "Agents that are connected.", ingest.connectedAgents)
        add(
            .counter, "kubenetmon_server_connections_total", "Agents' connections accepted.", ingest.connections)
        add(
            .gauge, "kubenetmon_server_open_connections", "Connections that are open, introduced or not.",
            ingest.openConnections)
        add(
            .counter, "kubenetmon_server_aged_connections_total",
            "Connections whose agent was asked to connect anew because they had become too old.",
            ingest.agedConnections)
        if let tls = ingest.tls { add(tls) }
        add(
            .counter, "kubenetmon_server_batches_total", "Batches received from agents.", ingest.batches)
        add(
            .counter, "kubenetmon_server_duplicate_batches_total",
            "Batches that came again and were not stored again.", ingest.duplicateBatches)
        add(inserts)
    }

    /// Whether the configuration in use is the one in the file.
    mutating func add(_ configuration: ConfigurationReload.Statistics) {
        add(
            .gauge, "kubenetmon_config_last_reload_successful", "Whether the configuration was good when last read.",
            configuration.isSuccessful)
        add(
            .gauge, "kubenetmon_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read and good, in seconds since 1970.", configuration.lastSuccess)
    }

    private mutating func add(_ tls: TLSContextSource.Statistics) {
        add(
            .gauge, "kubenetmon_server_tls_certificate_not_after_timestamp_seconds",
            "When the certificate expires that agents are shown.", tls.certificateNotAfter ?? 0)
        add(
            .counter, "kubenetmon_server_tls_reload_failures_total",
            "Looks at the TLS files that found them of no use; the ones before stay in use.", tls.failures)
    }

    /// What became of rows. Those that are quarantined are lost; everything else is stored or waits.
    private mutating func add(_ inserts: Inserter.Statistics) {
        let lost = inserts.quarantined.sorted { $0.key < $1.key }
        let sum = { (amount: KeyPath<Inserter.Statistics.Amount, UInt64>) in
            lost.reduce(0) { $0 + $1.value[keyPath: amount] }
        }
        add(
            .counter, "kubenetmon_worker_rows_total", "Rows by what became of them.", label: "type",
            [("inserted", inserts.inserted.rows), ("quarantined", sum(\.rows))])
        add(
            .counter, "kubenetmon_worker_batches_total", "Inserts by what became of them.", label: "type",
            [("inserted", inserts.inserted.blocks), ("quarantined", sum(\.blocks))])
        add(
            .counter, "kubenetmon_worker_inserted_bytes_total", "Network bytes that the inserted rows report.",
            inserts.inserted.reportedBytes)
        add(
            .counter, "kubenetmon_worker_lost_rows_total", "Rows that ClickHouse does not take, by reason.",
            label: "reason", lost.map { ($0.key, $0.value.rows) })
        add(
            .counter, "kubenetmon_worker_lost_bytes_total",
            "Network bytes of rows that ClickHouse does not take, by reason.",
            label: "reason", lost.map { ($0.key, $0.value.reportedBytes) })
        add(
            .counter, "kubenetmon_worker_insert_retries_total", "Attempts that failed, by reason.",
            label: "reason", inserts.failedAttempts.sorted { $0.key < $1.key })
        add(
            .counter, "kubenetmon_worker_insert_attempts_total", "Attempts by their end and by what can mend it.",
            label: "class",
            [("success", inserts.inserted.blocks)]
                + FailureClass.allCases.map { ($0.rawValue, inserts.failedAttemptsByClass[$0] ?? 0) })
        add(
            "kubenetmon_worker_insert_wait_time_ms", "Time that attempts took, by their end.", label: "type",
            [
                ("inserted", Histogram(inserts.successfulAttemptDuration)),
                ("failed", Histogram(inserts.failedAttemptDuration)),
            ])
        add(
            "kubenetmon_worker_insert_batch_age_ms", "Time from a batch's first flow until ClickHouse had it.",
            Histogram(inserts.batchAge))
        add(
            .gauge, "kubenetmon_worker_queued_rows", "Rows that wait for ClickHouse.", inserts.queuedRows)
        add(
            .gauge, "kubenetmon_worker_queued_batches", "Batches that wait for ClickHouse.", inserts.queuedBlocks)
        add(
            .gauge, "kubenetmon_worker_queued_bytes", "Memory of batches that wait for ClickHouse.",
            inserts.queuedBytes)
        add(
            .gauge, "kubenetmon_server_gathering_bytes", "Memory of blocks that are being filled.",
            inserts.gatheringBytes)
        add(
            .gauge, "kubenetmon_worker_oldest_batch_age_seconds",
            "Time since the oldest batch was begun that waits for ClickHouse.",
            (inserts.oldestAge ?? .zero) / .seconds(1))
        add(
            .counter, "kubenetmon_worker_endpoint_attempts_total", "Inserts sent to an endpoint.", label: "endpoint",
            inserts.endpoints.map { ($0.url, $0.attempts) })
        add(
            .counter, "kubenetmon_worker_endpoint_failures_total", "Inserts that failed at an endpoint.",
            label: "endpoint", inserts.endpoints.map { ($0.url, $0.failures) })
    }

    /// What is known of the cluster.
    mutating func add(_ index: ClusterIndex.Statistics) {
        add(
            .gauge, "kubenetmon_server_index_objects", "Objects that flows are labelled by, by resource.",
            label: "resource",
            [
                ("pods", index.pods), ("nodes", index.nodes), ("services", index.services),
                ("replicasets", index.replicaSets),
            ])
    }

    /// The watches of the cluster.
    mutating func add(_ watches: [(name: String, statistics: ReflectorStatistics)]) {
        let now = ContinuousClock.now
        add(
            .gauge, "kubenetmon_server_watch_synced", "Whether a resource has been listed, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.isSynced ? 1 : 0) })
        add(
            .gauge, "kubenetmon_server_watch_silence_seconds",
            "Time since the API server last said something of a resource; a minute is usual.",
            label: "resource",
            watches.compactMap { watch in
                watch.statistics.lastActivity.map { (watch.name, Int(($0.duration(to: now)) / .seconds(1))) }
            })
        add(
            .counter, "kubenetmon_server_watch_changes_total", "Changes that watches told of, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.changes) })
        add(
            .counter, "kubenetmon_server_watch_relists_total", "Times that a resource was listed anew, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.relists) })
        add(
            .counter, "kubenetmon_server_watch_failures_total", "Lists and watches that failed, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.failures.values.reduce(0, +)) })
        add(
            .counter, "kubenetmon_server_watch_malformed_objects_total", "Objects that could not be read, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.malformedObjects) })
    }

    /// The lists of clouds' addresses.
    mutating func add(_ ranges: CloudRangeCatalog.Statistics) {
        let sources = ranges.sources.map { (name: $0.provider.rawValue, statistics: $0) }
        add(
            .gauge, "kubenetmon_server_range_prefixes", "Prefixes of a cloud's list of addresses, by list.",
            label: "source", sources.map { ($0.name, $0.statistics.prefixes) })
        add(
            .gauge, "kubenetmon_server_range_age_seconds", "Time since a list in use was known to be current, by list.",
            label: "source", sources.compactMap { source in source.statistics.age.map { (source.name, $0) } })
        add(
            .counter, "kubenetmon_public_ip_refreshes_total", "Attempts to get a list, by what became of them.",
            label: "result",
            [
                ("success", sources.reduce(0) { $0 + $1.statistics.successes }),
                ("failure", sources.reduce(0) { $0 + $1.statistics.failures }),
            ])
        add(
            .counter, "kubenetmon_server_range_failures_total", "Attempts to get a list that failed, by list.",
            label: "source", sources.map { ($0.name, $0.statistics.failures) })
        add(
            .gauge, "kubenetmon_server_range_merged_prefixes", "Prefixes of all lists after their merge.",
            ranges.prefixes)
    }
}

extension MetricsPage.Histogram {
    fileprivate init(_ histogram: MillisecondHistogram) {
        self.init(bounds: MillisecondHistogram.bounds, counts: histogram.counts, sum: histogram.sum)
    }
}
