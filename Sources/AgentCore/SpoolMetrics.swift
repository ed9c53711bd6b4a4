// SPDX-License-Identifier: Apache-2.0

import FlowExport
import Probes

extension MetricsPage {
    /// Adds the metrics of the spool directory: its size, restored batches and failures.
    mutating func addSpool(_ export: FlowExporter.Statistics) {
        let spool = export.spool ?? SpoolStatistics()
        add(
            .counter, "kubenetmon_agent_restored_bytes_total",
            "Network bytes restored from the spool directory, left there by an earlier agent process.",
            export.balance.restored.bytes)
        add(
            .counter, "kubenetmon_agent_restored_flows_total",
            "Flows restored from the spool directory, left there by an earlier agent process.",
            export.balance.restored.flows)
        add(
            .counter, "kubenetmon_agent_restored_batches_total",
            "Batches restored from the spool directory, left there by an earlier agent process.",
            UInt64(clamping: export.restoredBatches))
        add(
            .gauge, "kubenetmon_agent_spool_directory_bytes", "Bytes of the log in the spool directory.",
            spool.logBytes)
        add(
            .gauge, "kubenetmon_agent_spool_last_sync_timestamp_seconds",
            "Last sync of the spool directory's log to disk, in seconds since the Unix epoch; 0 if there is none.",
            spool.lastSync)
        let failures = SpoolError.Kind.allCases.map { ($0.rawValue, spool.errors[$0] ?? 0) }
        add(
            .counter, "kubenetmon_agent_spool_errors_total", "Failures of the spool directory, by type.", label: "type",
            failures + [("corrupt_record", spool.corruptRecords), ("corrupt_file", spool.corruptFiles)])
    }
}
