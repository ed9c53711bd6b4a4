// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowExport
import Operations

extension MetricsPage {
    /// The agent's metrics. The names of the first five are kubenetmon's.
    init(
        collection: CollectionService.Statistics, events: EventService.Statistics, export: FlowExporter.Statistics,
        selfCheck: [SelfCheck.Condition: String]
    ) {
        self.init()
        add(
            .counter, "kubenetmon_collector_errors_total", "Failures by type.", label: "type",
            [("collection_failed", collection.failedCollections), ("send_failed", export.failedConnections)])
        add(
            .counter, "kubenetmon_collector_processed_flows_total", "Conntrack entries by what became of them.",
            label: "type",
            [
                ("sent", collection.collectedFlows + events.collectedFlows),
                ("ignored", collection.ignored.values.reduce(0, +)),
            ])
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
            .counter, "kubenetmon_agent_collected_bytes_total",
            "Network bytes taken out of the kernel's counters, by whether the connection lives or has ended.",
            label: "kind", [("scrape", collection.collectedBytes), ("destroy", events.collectedBytes)])
        add(
            .counter, "kubenetmon_agent_collected_flows_total",
            "Flows taken out of the kernel's counters, by whether the connection lives or has ended.", label: "kind",
            [("scrape", collection.collectedFlows), ("destroy", events.collectedFlows)])
        add(
            .counter, "kubenetmon_agent_lost_bytes_total", "Network bytes that are counted nowhere else, by reason.",
            label: "reason", [("spool_full", events.lostBytes)])
        add(
            .counter, "kubenetmon_agent_lost_flows_total", "Flows whose bytes are counted nowhere else, by reason.",
            label: "reason",
            [
                ("spool_full", events.lostFlows), ("answer_lost", collection.lostAnswers),
                ("malformed", collection.malformedEntries + events.malformedEvents),
            ])
        add(
            .counter, "kubenetmon_agent_event_overruns_total",
            "Times that the kernel dropped conntrack events, of unknown number and bytes.", events.overruns)
        add(.counter, "kubenetmon_agent_events_total", "Conntrack events of ended connections.", events.events)
        add(
            .gauge, "kubenetmon_agent_self_check", "Whether a condition for right counts holds.", label: "check",
            SelfCheck.Condition.allCases.map { ($0.rawValue, selfCheck[$0] == nil) })
        add(
            .counter, "kubenetmon_agent_gone_entries_total",
            "Entries that ended between a dump and their own request; their events carry what they had counted.",
            collection.goneEntries)
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
            .counter, "kubenetmon_agent_deferred_collections_total",
            "Collections left to the kernel, wholly or in part, because too much waited for an acknowledgement.",
            collection.deferredCollections)
        add(
            .counter, "kubenetmon_agent_interrupted_collections_total",
            "Collections in which the table changed so that entries may have been left for the next.",
            collection.interruptedCollections)
        add(
            .counter, "kubenetmon_agent_silent_connections_total",
            "Connections closed because the server said nothing although it owed acknowledgements.",
            export.silentConnections)
        add(
            .counter, "kubenetmon_agent_boundary_hits_total",
            "Entries whose original direction the kernel zeroed unread at the boundary between two messages.",
            collection.boundaryHits)
        add(
            .gauge, "kubenetmon_agent_conntrack_entries", "Conntrack entries in the last collection.",
            collection.tableEntries)
        add(
            .gauge, "kubenetmon_agent_conntrack_max", "Entries that the conntrack table may hold.",
            ConntrackSettings.maximum ?? 0)
        add(
            .gauge, "kubenetmon_agent_server_connected", "Whether a server is connected.", export.isConnected)
        add(
            .counter, "kubenetmon_agent_connections_total", "Connections to a server that were opened.",
            export.connections)
        add(
            .counter, "kubenetmon_agent_connection_failures_total",
            "Connections to a server that could not be made or were not wanted, by reason.", label: "reason",
            export.connectionFailures.sorted { $0.key < $1.key })
        if let tls = export.tls {
            if let notAfter = tls.certificateNotAfter {
                add(
                    .gauge, "kubenetmon_agent_tls_certificate_not_after_timestamp_seconds",
                    "When the certificate expires that the server is shown.", notAfter)
            }
            add(
                .counter, "kubenetmon_agent_tls_reload_failures_total",
                "Looks at the TLS files that found them of no use.", tls.failures)
        }
    }
}
