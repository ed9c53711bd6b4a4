// SPDX-License-Identifier: Apache-2.0

import AgentCore
import FlowCollection
import FlowModel
import TestSupport
import Testing

@testable import FlowExport
@testable import Operations
@testable import Probes

@Suite struct AgentMetricsTests {
    /// The numbers of an agent that has just started.
    private static let fresh: AgentNumbers = {
        var numbers = AgentNumbers()
        numbers.counters = [ReaderCounter("kubenetmon_agent_shards_total", "Shards.", 0)]
        numbers.conditions = [SelfCheck.Condition("accounting"), SelfCheck.Condition("events"), .spool]
        return numbers
    }()

    private static let numbers: AgentNumbers = {
        var numbers = fresh
        numbers.collection.collections = 4
        numbers.collection.duration = .milliseconds(12)
        numbers.collection.cpuTime = .milliseconds(5)
        numbers.collection.ignored[.idle] = 3
        numbers.collection.ignored[.loopback] = 4
        numbers.collection.failedCollections = 2
        numbers.collection.lostAnswers = 1
        numbers.collection.lastDuration = .milliseconds(3)
        numbers.collection.lastSuccess = 1_795_000_000.25
        numbers.events.received.ignored[.idle] = 2
        numbers.events.received.droppedEvents = 3
        numbers.events.received.droppedBytesEstimate = 300
        numbers.events.cpuTime = .milliseconds(250)
        numbers.export.balance.collected = [
            .scrape: FlowAmount(flows: 10, bytes: 1_000), .destroy: FlowAmount(flows: 5, bytes: 500),
        ]
        numbers.export.balance.acknowledged = FlowAmount(flows: 9, bytes: 900)
        numbers.export.balance.kept = FlowAmount(flows: 1, bytes: 400)
        numbers.export.balance.queued = FlowAmount(flows: 2, bytes: 200)
        numbers.export.balance.mergedFlows = 3
        numbers.export.balance.lost = [
            .noRoom: FlowAmount(flows: 2, bytes: 7), .noRoomToRestore: FlowAmount(flows: 1, bytes: 5),
            .corruption: FlowAmount(flows: 1, bytes: 11),
        ]
        numbers.export.failedConnections = 6
        numbers.export.isConnected = true
        numbers.export.hostAddresses = 5
        numbers.export.grantedBytes = 65_536
        numbers.export.oldestObservation = 1_795_000_000_500
        numbers.problems = [SelfCheck.Condition("events"): "off"]
        numbers.counters = [ReaderCounter("kubenetmon_agent_shards_total", "Shards.", 7)]
        numbers.export.balance.restored = FlowAmount(flows: 4, bytes: 40)
        numbers.export.restoredBatches = 2
        var spool = SpoolStatistics()
        spool.logBytes = 4_096
        spool.lastSync = 1_795_000_001.5
        spool.errors = [.full: 3]
        spool.corruptRecords = 1
        numbers.export.spool = spool
        numbers.now = .seconds(1_795_000_002)
        numbers.spoolBytes = 65_536
        numbers.maximumEntries = 262_144
        numbers.entries = 12
        return numbers
    }()
    /// The samples of their page, which takes a debug build a while to read.
    private static let samples = MetricsText(MetricsPage(numbers).text).samples

    @Test(arguments: [
        // The names of kubenetmon's agent.
        ("kubenetmon_collector_errors_total{type=\"collection_failed\"}", 2),
        ("kubenetmon_collector_errors_total{type=\"send_failed\"}", 6),
        ("kubenetmon_collector_processed_flows_total{type=\"ignored\"}", 9),
        ("kubenetmon_collector_processed_flows_total{type=\"sent\"}", 15),
        ("kubenetmon_collector_last_collection_duration_us", 3_000),
        ("kubenetmon_collector_last_successful_collection_timestamp_unix_seconds", 1_795_000_000.25),
        // Collected and lost bytes and flows.
        ("kubenetmon_agent_collected_bytes_total{kind=\"scrape\"}", 1_000),
        ("kubenetmon_agent_collected_bytes_total{kind=\"destroy\"}", 500),
        ("kubenetmon_agent_unacknowledged_bytes", 600), ("kubenetmon_agent_unacknowledged_flows", 3),
        ("kubenetmon_agent_merged_flows_total", 3),
        ("kubenetmon_agent_lost_bytes_total{reason=\"event_overrun_estimate\"}", 300),
        ("kubenetmon_agent_lost_flows_total{reason=\"event_overrun\"}", 3),
        ("kubenetmon_agent_lost_bytes_total{reason=\"spool_full\"}", 12),
        ("kubenetmon_agent_lost_bytes_total{reason=\"spool_corrupt\"}", 11),
        ("kubenetmon_agent_lost_flows_total{reason=\"spool_full\"}", 3),
        ("kubenetmon_agent_lost_flows_total{reason=\"spool_corrupt\"}", 1),
        // The spool directory.
        ("kubenetmon_agent_restored_bytes_total", 40), ("kubenetmon_agent_restored_flows_total", 4),
        ("kubenetmon_agent_restored_batches_total", 2), ("kubenetmon_agent_spool_directory_bytes", 4_096),
        ("kubenetmon_agent_spool_last_sync_timestamp_seconds", 1_795_000_001.5),
        ("kubenetmon_agent_spool_errors_total{type=\"full\"}", 3),
        ("kubenetmon_agent_spool_errors_total{type=\"corrupt_record\"}", 1),
        ("kubenetmon_agent_self_check{check=\"spool\"}", 1),
        ("kubenetmon_agent_ignored_flows_total{reason=\"idle\"}", 5),
        ("kubenetmon_agent_ignored_flows_total{reason=\"protocol\"}", 0),
        ("kubenetmon_agent_collection_seconds_total", 0.012),
        ("kubenetmon_agent_cpu_seconds_total{task=\"events\"}", 0.25),
        ("kubenetmon_agent_oldest_unacknowledged_age_seconds", 1.5), ("kubenetmon_agent_spool_max_bytes", 65_536),
        ("kubenetmon_agent_conntrack_entries", 12), ("kubenetmon_agent_conntrack_max", 262_144),
        ("kubenetmon_agent_self_check{check=\"events\"}", 0), ("kubenetmon_agent_self_check{check=\"accounting\"}", 1),
        // The reader's own counter.
        ("kubenetmon_agent_shards_total", 7),
        ("kubenetmon_agent_granted_bytes", 65_536), ("kubenetmon_agent_server_connected", 1),
        ("kubenetmon_agent_host_addresses", 5),
    ])
    func aValueIsUnderItsName(name: String, value: Double) {
        #expect(Self.samples[name] == value)
    }

    /// A busy agent has the same series as one that has just started.
    @Test("the metrics page is well-formed, and a busy agent has the same series as a new one")
    func thePageIsWellFormedAndGrowsWithNothing() {
        let (first, later) = (
            MetricsText(MetricsPage(Self.fresh).text), MetricsText(MetricsPage(Self.numbers).text)
        )
        #expect(first.problems == [] && later.problems == [])
        #expect(first.samples.keys.sorted() == later.samples.keys.sorted())
        #expect(first.samples.count < 100)
    }

    @Test("the agent's summary in the log has the same numbers as its metrics")
    func theSummaryTellsWhatTheMetricsTell() {
        let metadata = SummaryService.growth(
            from: SummaryService.Numbers(AgentNumbers()), to: SummaryService.Numbers(Self.numbers))
        #expect(
            metadata == [
                "flows": "15", "bytes": "1500", "acknowledged_flows": "9", "acknowledged_bytes": "900",
                "unacknowledged_flows": "3", "lost_flows": "8", "lost_bytes": "323", "event_overruns": "0",
                "collections": "4", "collection_us": "3000", "conntrack_entries": "12", "servers": "1",
            ])
    }
}
