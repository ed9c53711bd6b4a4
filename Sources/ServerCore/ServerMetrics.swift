// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowBlocks
import FlowIngest
import FlowModel
import KubernetesAPI
import Labeling
import Probes

extension MetricsPage {
    /// The server's metrics. The first two, and the names that begin with `kubenetmon_worker_` or
    /// `kubenetmon_public_ip_`, come from ClickHouse's kubenetmon.
    package init(_ numbers: ServerNumbers) {
        self.init()
        addFlows(numbers)
        addLabels(numbers.flows.labels)
        add(numbers.ingest)
        addFates(numbers)
        addAttempts(numbers)
        addQueue(numbers)
        add(numbers.index)
        add(numbers.ranges)
        add(numbers.watches)
        add(numbers.configuration)
    }

    // MARK: - Flows

    /// Adds the amounts of flows by state. A received flow is ignored, dropped, withdrawn, pending, inserted or lost.
    private mutating func addFlows(_ numbers: ServerNumbers) {
        let (flows, blocks) = (numbers.flows, numbers.blocks)
        let ignored = FlowAssembler.Statistics.ignoredReasons.map { ($0, flows.ignored[$0] ?? .init()) }
        let rejected = numbers.rejected
        add(
            .counter, "kubenetmon_server_errors_total",
            "Agent connections rejected or closed by the server, by reason.", label: "type",
            numbers.errors.sorted { $0.key < $1.key })
        add(
            .counter, "kubenetmon_server_processed_observations_total", "Flows received, by outcome.",
            label: "type",
            [
                ("labeled", flows.labeled.flows),
                (
                    "enqueued",
                    flows.labeled.flows &- flows.dropped.flows &- flows.gathering.flows &- flows.withdrawn.flows
                ),
                ("dropped", flows.dropped.flows &+ rejected.flows), ("ignored", numbers.ignored.flows),
            ])
        add(
            .counter, "kubenetmon_server_received_flows_total", "Flows received; each batch counts once.",
            flows.received.flows)
        add(
            .counter, "kubenetmon_server_received_bytes_total",
            "Network bytes of flows received; each batch counts once.", flows.received.bytes)
        add(
            .counter, "kubenetmon_server_labeled_bytes_total", "Network bytes of labelled flows, without ignored ones.",
            flows.labeled.bytes)
        add(
            .counter, "kubenetmon_server_ignored_flows_total", "Flows that are not recorded, by reason.",
            label: "reason", ignored.map { ($0.0, $0.1.flows) })
        add(
            .counter, "kubenetmon_server_ignored_bytes_total",
            "Network bytes of flows that are not recorded, by reason.",
            label: "reason", ignored.map { ($0.0, $0.1.bytes) })
        add(
            .counter, "kubenetmon_server_dropped_flows_total",
            "Flows that were labelled and dropped because clickhouse_enabled is false.", flows.dropped.flows)
        add(
            .counter, "kubenetmon_server_dropped_bytes_total",
            "Network bytes of flows that were labelled and dropped because clickhouse_enabled is false.",
            flows.dropped.bytes)
        add(
            .counter, "kubenetmon_server_withdrawn_flows_total",
            "Flows withdrawn because their agent left, to send them to another server, before they were sent to ClickHouse.",
            flows.withdrawn.flows &+ blocks.withdrawn.flows)
        add(
            .counter, "kubenetmon_server_withdrawn_bytes_total",
            "Network bytes of flows withdrawn because their agent left before they were sent to ClickHouse.",
            flows.withdrawn.bytes &+ blocks.withdrawn.reportedBytes)
        add(
            .gauge, "kubenetmon_server_pending_flows", "Flows not yet stored in ClickHouse, by stage.",
            label: "stage", [("gathering", flows.gathering.flows), ("queued", blocks.pendingFlows)])
        add(
            .gauge, "kubenetmon_server_pending_bytes",
            "Network bytes of flows not yet stored in ClickHouse, by stage.",
            label: "stage", [("gathering", flows.gathering.bytes), ("queued", blocks.pendingBytes)])
        add(
            .counter, "kubenetmon_server_incredible_times_total",
            "Batches with an implausible time, which was replaced by the time of arrival.",
            flows.incredibleTimes)
        add(
            .counter, "kubenetmon_server_impossible_flows_total",
            "Flows dropped because they report more than a network can carry (above 2^50 packets or bytes).",
            flows.impossibleFlows)
    }

    private mutating func addLabels(_ labels: LabelResults) {
        add(
            .counter, "kubenetmon_server_label_results_total",
            "Labelled flows, without ignored ones, by the result for each end and for the dialled address.",
            labels: ("end", "result"), labels.samples)
    }

    // MARK: - Agents

    private mutating func add(_ ingest: IngestStatistics) {
        add(
            .gauge, "kubenetmon_server_connected_agents", "Connected agents.", ingest.connectedAgents)
        add(
            .gauge, "kubenetmon_server_agents_clock_skewed",
            "Connected agents whose clock differs from the server's by more than a second.", ingest.skewedAgents)
        add(
            .gauge, "kubenetmon_server_agent_clock_skew_max_seconds",
            "Greatest difference between the clock of a connected agent and the server's.",
            ingest.greatestClockSkew.seconds)
        add(
            .gauge, "kubenetmon_server_agent_clock_skew_seconds",
            "Lead of an agent's clock over the server's, negative if behind; only above a second, at most 100 nodes.",
            label: "node", ingest.clockLeads.sorted { $0.key < $1.key }.map { ($0.key, $0.value.seconds) })
        add(
            .gauge, "kubenetmon_server_open_connections", "Open agent connections, before and after their Hello.",
            ingest.openConnections)
        add(
            .counter, "kubenetmon_server_connections_total", "Agent connections accepted.", ingest.connections)
        add(
            .counter, "kubenetmon_server_accept_failures_total",
            "Failed attempts to accept an agent connection, for lack of file descriptors or memory.",
            ingest.acceptFailures)
        add(
            .counter, "kubenetmon_server_aged_connections_total",
            "Requests to agents to reconnect because of their connection's age.", ingest.agedConnections)
        add(
            .counter, "kubenetmon_server_batches_total", "Batches received from agents.", ingest.batches)
        add(
            .counter, "kubenetmon_server_wire_bytes_total", "Bytes of the messages that carried batches.",
            ingest.wireBytes)
        add(
            .counter, "kubenetmon_server_duplicate_batches_total",
            "Duplicate batches received and not stored again.", ingest.duplicateBatches)
        add(
            .counter, "kubenetmon_server_withdrawn_batches_total",
            "Batches withdrawn because their agent left before they were sent to ClickHouse.",
            ingest.withdrawnBatches)
        add(
            .counter, "kubenetmon_server_duplicate_flows_total",
            "Flows of duplicate batches received and not stored again.", ingest.duplicateFlows)
        add(
            .gauge, "kubenetmon_server_tls_certificate_not_after_timestamp_seconds",
            "Expiry time of the server certificate, in seconds since 1970; 0 without TLS.",
            ingest.tls?.certificateNotAfter ?? 0)
        add(
            .counter, "kubenetmon_server_tls_reload_failures_total",
            "Failed reloads of the TLS files; the previous files stay in use.", ingest.tls?.failures ?? 0)
    }

    // MARK: - ClickHouse

    /// Adds the outcomes of rows. Rejected rows are lost; all others are stored or wait.
    private mutating func addFates(_ numbers: ServerNumbers) {
        let (stored, rejected) = (numbers.blocks.stored, numbers.rejected)
        let withoutViews = numbers.inserts.withoutViews
        let lost = ClickHouseError.reasons.map { ($0, numbers.blocks.rejected[$0] ?? .init()) }
        add(
            .counter, "kubenetmon_worker_rows_total", "Rows by outcome.", label: "type",
            [("inserted", stored.rows), ("quarantined", rejected.rows)])
        add(
            .counter, "kubenetmon_worker_batches_total", "Inserts by outcome.", label: "type",
            [("inserted", stored.blocks), ("quarantined", rejected.blocks)])
        add(
            .counter, "kubenetmon_worker_inserted_flows_total", "Flows in the inserted rows.",
            stored.flows)
        add(
            .counter, "kubenetmon_worker_inserted_bytes_total", "Network bytes in the inserted rows.",
            stored.reportedBytes)
        add(
            .counter, "kubenetmon_worker_without_views_batches_total",
            "Batches inserted although a materialized view failed; the view may lack them.", withoutViews.blocks)
        add(
            .counter, "kubenetmon_worker_without_views_bytes_total",
            "Network bytes of batches inserted although a materialized view failed; the view may lack them.",
            withoutViews.reportedBytes)
        add(
            .counter, "kubenetmon_worker_lost_flows_total", "Flows whose rows ClickHouse rejected, by reason.",
            label: "reason", lost.map { ($0.0, $0.1.flows) })
        add(
            .counter, "kubenetmon_worker_lost_rows_total", "Rows that ClickHouse rejected, by reason.",
            label: "reason", lost.map { ($0.0, $0.1.rows) })
        add(
            .counter, "kubenetmon_worker_lost_bytes_total",
            "Network bytes of rows that ClickHouse rejected, by reason.",
            label: "reason", lost.map { ($0.0, $0.1.reportedBytes) })
    }

    private mutating func addAttempts(_ numbers: ServerNumbers) {
        let inserts = numbers.inserts
        add(
            .counter, "kubenetmon_worker_insert_retries_total", "Failed insert attempts, by reason.",
            label: "reason", ClickHouseError.reasons.map { ($0, inserts.failedAttempts[$0] ?? 0) })
        add(
            .counter, "kubenetmon_worker_rescued_batches_total",
            "Batches sent again because ClickHouse crashed and kept their token without their rows.",
            inserts.rescuedBatches)
        add(
            .counter, "kubenetmon_server_void_blocks_total",
            "Blocks that another server fenced before ClickHouse stored them; agents send their batches again.",
            inserts.voidBlocks)
        add(
            .counter, "kubenetmon_worker_possibly_doubled_bytes_total",
            "Network bytes of batches that may be stored twice.", inserts.possiblyDoubled.reportedBytes)
        add(
            .counter, "kubenetmon_server_settled_batches_total",
            "Batches that agents had sent to a server that is gone, by whether ClickHouse has them.", label: "fate",
            [
                ("stored", numbers.doubts.batches[.stored] ?? 0),
                ("not_stored", numbers.doubts.batches[.notStored] ?? 0),
            ])
        add(
            .counter, "kubenetmon_server_uncertain_batches_total",
            "Batches that agents had sent to a server that is gone, and that may be stored twice.",
            numbers.doubts.batches[.uncertain] ?? 0)
        add(
            .counter, "kubenetmon_server_uncertain_bytes_total",
            "Network bytes of batches that may be stored twice, because a server was gone.",
            numbers.doubts.reportedBytes[.uncertain] ?? 0)
        add(
            .counter, "kubenetmon_worker_insert_attempts_total", "Insert attempts, by success or class of failure.",
            label: "class",
            [("success", numbers.blocks.stored.blocks &+ inserts.voidBlocks)]
                + FailureClass.allCases.map { ($0.rawValue, inserts.failedAttemptsByClass[$0] ?? 0) })
        add(
            "kubenetmon_worker_insert_wait_time_ms", "Duration of insert attempts in milliseconds, by outcome.",
            label: "type",
            [
                ("inserted", inserts.successfulAttemptDuration),
                ("failed", inserts.failedAttemptDuration),
            ])
        add(
            "kubenetmon_worker_insert_batch_age_ms", "Milliseconds from a batch's first flow to its storage.",
            inserts.batchAge)
        add("kubenetmon_worker_insert_batch_rows", "Rows per stored batch.", inserts.batchRows)
        add(
            .counter, "kubenetmon_worker_endpoint_attempts_total", "Inserts sent to an endpoint.", label: "endpoint",
            inserts.endpoints.map { ($0.url, $0.attempts) })
        add(
            .counter, "kubenetmon_worker_endpoint_failures_total", "Inserts that failed at an endpoint.",
            label: "endpoint", inserts.endpoints.map { ($0.url, $0.failures) })
    }

    private mutating func addQueue(_ numbers: ServerNumbers) {
        let (blocks, memory) = (numbers.blocks, numbers.memory)
        add(
            .gauge, "kubenetmon_worker_queued_rows", "Rows that wait for ClickHouse.", blocks.queuedRows)
        add(
            .gauge, "kubenetmon_worker_queued_batches", "Batches that wait for ClickHouse.", blocks.queuedBlocks)
        add(
            .gauge, "kubenetmon_worker_queued_bytes", "Memory of batches that wait for ClickHouse.",
            blocks.queuedBytes)
        add(
            .gauge, "kubenetmon_server_gathering_bytes", "Memory of blocks that are being filled.",
            memory.gatheringBytes)
        add(
            .gauge, "kubenetmon_worker_max_queued_bytes",
            "Memory limit of batches that wait or are being filled; above it, reading from agents is paused.",
            memory.maximumBytes)
        add(
            .counter, "kubenetmon_server_backpressure_seconds_total",
            "Time in which reading from agents was paused because kubenetmon_worker_max_queued_bytes was reached.",
            memory.pressureTime / .seconds(1))
        add(
            .gauge, "kubenetmon_worker_oldest_batch_age_seconds",
            "Age of the oldest batch that waits for ClickHouse.",
            (blocks.oldestAge ?? .zero) / .seconds(1))
    }

    // MARK: - Sources of labels

    private mutating func add(_ index: ClusterIndex.Statistics) {
        add(
            .gauge, "kubenetmon_server_index_objects", "Objects that flows are labelled with, by resource.",
            label: "resource",
            [
                ("pods", index.pods), ("nodes", index.nodes), ("services", index.services),
                ("replicasets", index.replicaSets),
            ])
    }

    /// Adds the watches of the cluster; without a watched cluster their metrics have no samples.
    private mutating func add(_ watches: [(name: String, statistics: ReflectorStatistics)]) {
        let now = ContinuousClock.now
        add(
            .gauge, "kubenetmon_server_watch_synced", "Whether a resource has been listed, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.isSynced) })
        add(
            .gauge, "kubenetmon_server_watch_silence_seconds",
            "Time since the last list, event or bookmark of a resource; up to a minute is normal.",
            label: "resource",
            watches.compactMap { watch in
                watch.statistics.lastProgress.map { (watch.name, $0.duration(to: now).wholeSeconds) }
            })
        add(
            .gauge, "kubenetmon_server_watch_age_seconds",
            "Time since a resource's watch was opened; 0 without an open watch.",
            label: "resource",
            watches.map { watch in
                (watch.name, watch.statistics.watchingSince.map { $0.duration(to: now).wholeSeconds } ?? 0)
            })
        add(
            .counter, "kubenetmon_server_watch_changes_total", "Changes received from watches, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.changes) })
        add(
            .counter, "kubenetmon_server_watch_relists_total", "Repeated lists of a resource, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.relists) })
        add(
            .counter, "kubenetmon_server_watch_failures_total",
            "Failed lists and watches, by resource and kind of failure.", labels: ("resource", "kind"),
            watches.flatMap { watch in
                ReflectorFailure.allCases.map {
                    ((watch.name, $0.rawValue), watch.statistics.failures[$0] ?? 0)
                }
            })
        add(
            .counter, "kubenetmon_server_watch_malformed_objects_total",
            "Objects skipped because they could not be decoded, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.malformedObjects) })
        add(
            .counter, "kubenetmon_server_watch_unreadable_addresses_total",
            "Addresses of objects skipped because they could not be parsed, by resource.",
            label: "resource", watches.map { ($0.name, $0.statistics.unreadableAddresses) })
    }

    /// Adds the clouds' address lists.
    private mutating func add(_ ranges: CloudRangeCatalog.Statistics) {
        let sources = ranges.sources.map { (name: $0.provider.rawValue, statistics: $0) }
        add(
            .gauge, "kubenetmon_server_range_prefixes", "Prefixes in a cloud's address list, by list.",
            label: "source", sources.map { ($0.name, $0.statistics.prefixes) })
        add(
            .gauge, "kubenetmon_server_range_age_seconds",
            "Time since a list in use was last known to be current, by list.",
            label: "source", sources.compactMap { source in source.statistics.age.map { (source.name, $0) } })
        add(
            .counter, "kubenetmon_public_ip_refreshes_total", "Attempts to load an address list, by result.",
            label: "result",
            [
                ("success", sources.reduce(0) { $0 &+ $1.statistics.successes }),
                ("failure", sources.reduce(0) { $0 &+ $1.statistics.failures }),
            ])
        add(
            .counter, "kubenetmon_server_range_failures_total", "Failed attempts to load an address list, by list.",
            label: "source", sources.map { ($0.name, $0.statistics.failures) })
        add(
            .gauge, "kubenetmon_server_range_merged_prefixes", "Prefixes of all address lists after merging.",
            ranges.prefixes)
    }

    // MARK: - Configuration

    /// Adds whether the configuration in use is the one in the file.
    private mutating func add(_ configuration: ConfigurationReload.Statistics) {
        add(
            .gauge, "kubenetmon_config_last_reload_successful", "Whether the configuration was valid when last read.",
            configuration.isSuccessful)
        add(
            .gauge, "kubenetmon_config_last_reload_success_timestamp_seconds",
            "Time when a valid configuration was last read, in seconds since 1970.", configuration.lastSuccess)
    }
}
