// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowIngest
import FlowModel
import KubernetesAPI
import Labeling
import TestSupport
import Testing

@testable import FlowBlocks
import ServerCore
@testable import Operations
@testable import Probes

@Suite struct ServerMetricsTests {
    private static let numbers: ServerNumbers = {
        var numbers = ServerNumbers()
        numbers.ingest.errors = ["frame_too_long": 2, "malformed_message": 1]
        numbers.ingest.connectedAgents = 3
        numbers.ingest.batches = 9
        numbers.ingest.wireBytes = 777
        numbers.ingest.duplicateFlows = 5
        numbers.flows.received = .init(flows: 24, bytes: 1_290)
        numbers.flows.labeled = .init(flows: 15, bytes: 1_200)
        numbers.flows.dropped = .init(flows: 2, bytes: 20)
        numbers.flows.gathering = .init(flows: 3, bytes: 30)
        numbers.flows.ignored = ["udp": .init(flows: 4, bytes: 40), "node": .init(flows: 5, bytes: 50)]
        (numbers.ingest.skewedAgents, numbers.ingest.greatestClockSkew) = (2, .milliseconds(90_500))
        numbers.blocks.stored = .init(blocks: 2, flows: 8, rows: 20, reportedBytes: 1_000)
        numbers.inserts.withoutViews = .init(blocks: 1, flows: 2, rows: 3, reportedBytes: 40)
        numbers.inserts.possiblyDoubled = .init(blocks: 1, flows: 1, rows: 2, reportedBytes: 60)
        numbers.blocks.rejected = [
            "refused_data": .init(blocks: 1, flows: 1, rows: 3, reportedBytes: 50),
            "exception": .init(blocks: 1, flows: 0, rows: 1, reportedBytes: 0),
        ]
        numbers.blocks.pendingFlows = 1
        numbers.blocks.pendingBytes = 100
        numbers.inserts.failedAttemptsByClass = [.transient: 6, .content: 2]
        numbers.inserts.batchAge.add(.milliseconds(700))
        numbers.inserts.batchRows.add(20 as UInt64)
        numbers.inserts.failedAttemptDuration.add(.seconds(700))
        numbers.inserts.successfulAttemptDuration.add(.milliseconds(30))
        numbers.inserts.successfulAttemptDuration.add(.milliseconds(50))
        numbers.blocks.oldestAge = .milliseconds(1_500)
        numbers.inserts.failedAttempts = ["timeout": 6]
        numbers.blocks.queuedRows = 7
        numbers.memory.maximumBytes = 1_024
        numbers.memory.pressureTime = .milliseconds(2_500)
        return numbers
    }()
    /// The samples of their page, which takes a debug build a quarter of a second to read.
    private static let samples = MetricsText(MetricsPage(numbers).text).samples

    @Test(arguments: [
        ("kubenetmon_server_errors_total{type=\"malformed_message\"}", 1),
        ("kubenetmon_server_errors_total{type=\"frame_too_long\"}", 2),
        ("kubenetmon_server_processed_observations_total{type=\"labeled\"}", 15),
        ("kubenetmon_server_processed_observations_total{type=\"enqueued\"}", 10),
        ("kubenetmon_server_processed_observations_total{type=\"dropped\"}", 3),
        ("kubenetmon_server_processed_observations_total{type=\"ignored\"}", 9),
        ("kubenetmon_server_received_bytes_total", 1_290),
        ("kubenetmon_server_ignored_bytes_total{reason=\"node\"}", 50),
        ("kubenetmon_server_ignored_bytes_total{reason=\"udp\"}", 40),
        ("kubenetmon_server_ignored_bytes_total{reason=\"ipv6\"}", 0), ("kubenetmon_server_labeled_bytes_total", 1_200),
        ("kubenetmon_server_pending_flows{stage=\"gathering\"}", 3),
        ("kubenetmon_server_pending_bytes{stage=\"queued\"}", 100),
        ("kubenetmon_server_dropped_flows_total", 2), ("kubenetmon_server_duplicate_flows_total", 5),
        ("kubenetmon_server_agents_clock_skewed", 2), ("kubenetmon_server_agent_clock_skew_max_seconds", 90.5),
        ("kubenetmon_server_connected_agents", 3), ("kubenetmon_server_batches_total", 9),
        ("kubenetmon_server_wire_bytes_total", 777),
        ("kubenetmon_worker_rows_total{type=\"inserted\"}", 20), ("kubenetmon_worker_inserted_bytes_total", 1_000),
        ("kubenetmon_worker_inserted_flows_total", 8),
        ("kubenetmon_worker_insert_retries_total{reason=\"timeout\"}", 6), ("kubenetmon_worker_queued_rows", 7),
        ("kubenetmon_worker_rows_total{type=\"quarantined\"}", 4),
        ("kubenetmon_worker_without_views_batches_total", 1), ("kubenetmon_worker_without_views_bytes_total", 40),
        ("kubenetmon_worker_possibly_doubled_bytes_total", 60),
        ("kubenetmon_worker_lost_bytes_total{reason=\"refused_data\"}", 50),
        ("kubenetmon_worker_lost_flows_total{reason=\"refused_data\"}", 1),
        ("kubenetmon_worker_insert_attempts_total{class=\"success\"}", 2),
        ("kubenetmon_worker_insert_attempts_total{class=\"transient\"}", 6),
        ("kubenetmon_worker_insert_attempts_total{class=\"operator\"}", 0),
        ("kubenetmon_worker_insert_batch_age_ms_bucket{le=\"500\"}", 0),
        ("kubenetmon_worker_insert_batch_age_ms_bucket{le=\"1000\"}", 1),
        ("kubenetmon_worker_insert_batch_age_ms_sum", 700), ("kubenetmon_worker_insert_batch_age_ms_count", 1),
        ("kubenetmon_worker_insert_batch_rows_bucket{le=\"100\"}", 1),
        ("kubenetmon_worker_insert_wait_time_ms_bucket{type=\"failed\",le=\"600000\"}", 0),
        ("kubenetmon_worker_insert_wait_time_ms_bucket{type=\"failed\",le=\"+Inf\"}", 1),
        ("kubenetmon_worker_insert_wait_time_ms_count{type=\"inserted\"}", 2),
        ("kubenetmon_worker_oldest_batch_age_seconds", 1.5), ("kubenetmon_worker_max_queued_bytes", 1_024),
        ("kubenetmon_server_backpressure_seconds_total", 2.5),
    ])
    func aValueIsUnderItsName(name: String, value: Double) {
        #expect(Self.samples[name] == value)
    }

    @Test("the clocks that differ have a series for each node")
    func clocks() {
        var numbers = ServerNumbers()
        numbers.ingest.clockLeads = ["node-b": .milliseconds(300_250), "node-a": .seconds(-90)]
        let samples = MetricsText(MetricsPage(numbers).text).samples
        #expect(samples["kubenetmon_server_agent_clock_skew_seconds{node=\"node-a\"}"] == -90)
        #expect(samples["kubenetmon_server_agent_clock_skew_seconds{node=\"node-b\"}"] == 300.25)
    }

    /// No input adds series to those present at start, but agents' clocks that differ, at most 100.
    @Test("the metrics page is well-formed, and a busy server has the same series as a new one")
    func thePageIsWellFormedAndGrowsWithNothing() {
        let (first, later) = (
            MetricsText(MetricsPage(ServerNumbers()).text), MetricsText(MetricsPage(Self.numbers).text)
        )
        #expect(first.problems == [] && later.problems == [])
        #expect(first.samples.keys.sorted() == later.samples.keys.sorted())
        #expect(first.samples.count < 300)
    }

    /// A rate misses the first error of a series that begins with 1, and so does an alert on it.
    @Test("every type of error has a series from the start and is in docs/security.md")
    func everyErrorBeginsWithNone() throws {
        let page = MetricsText(MetricsPage(ServerNumbers()).text)
        let errors = page.samples.filter { $0.key.hasPrefix("kubenetmon_server_errors_total{") }
        #expect(errors.count > 30 && errors.values.allSatisfy { $0 == 0 })
        for type in ["no_hello", "tls_timeout", "frame_too_long", "token_wrong", "token_other_node", "connection_lost"]
        {
            #expect(errors["kubenetmon_server_errors_total{type=\"\(type)\"}"] == 0)
        }
        let told = try String(contentsOf: Repository.file("docs/security.md"), encoding: .utf8)
        for series in errors.keys {
            let type = try #require(series.split(separator: "\"").dropFirst().first)
            #expect(told.contains("`\(type)`"))
        }
    }

    @Test("the server's summary in the log has the same numbers as its metrics")
    func theSummaryTellsWhatTheMetricsTell() {
        let metadata = SummaryService.growth(
            from: SummaryService.Numbers(ServerNumbers()), to: SummaryService.Numbers(Self.numbers))
        #expect(
            metadata == [
                "flows": "24", "bytes": "1290", "ignored_flows": "9", "rows": "20", "inserted_bytes": "1000",
                "lost_flows": "3", "lost_bytes": "70", "failed_inserts": "6", "insert_ms": "40", "queued_rows": "7",
                "agents": "3",
            ])
    }

    @Test("ends of flows are counted by their kind") func endsAreCountedByWhatTheyAre() {
        var results = LabelResults()
        let labels = EndpointLabels()
        withExtendedLifetime(labels) {
            for (local, remote, service) in [
                (EndpointKind.pod, EndpointKind.pod, true), (.pod, .range, false), (.pod, .unknown, false),
                (.node, .private, false),
            ] {
                let end = {
                    LabeledEndpoint(labels: LabelsReference(labels), address: IPAddress(v4: 1), port: 1, kind: $0)
                }
                results.add(
                    LabeledFlow(
                        transport: .tcp, local: end(local), remote: end(remote),
                        service: service ? LabelsReference(labels) : nil, connectionClass: .unknown,
                        sent: FlowCounters(packets: 1, bytes: 1), received: FlowCounters(packets: 1, bytes: 1)))
            }
        }
        var numbers = ServerNumbers()
        numbers.flows.labels = results
        let samples = MetricsText(MetricsPage(numbers).text).samples
        for (end, expected) in [
            ("local", ["pod": 3, "node": 1, "range": 0, "private": 0, "unknown": 0]),
            ("remote", ["pod": 1, "node": 0, "range": 1, "private": 1, "unknown": 1]),
            ("dialled", ["service": 1, "other": 3]),
        ] {
            for (result, count) in expected {
                let name = "kubenetmon_server_label_results_total{end=\"\(end)\",result=\"\(result)\"}"
                #expect(samples[name] == Double(count), "\(name)")
            }
        }
    }

    @Test("every kind of a watch's failures has a series") func aWatchTellsOfEveryKindOfFailure() {
        var numbers = ServerNumbers()
        var pods = ReflectorStatistics()
        pods.failures = [.forbidden: 4]
        pods.unreadableAddresses = 2
        pods.watchingSince = .now - .seconds(100)
        numbers.watches = [("pods", pods), ("nodes", ReflectorStatistics())]
        let text = MetricsText(MetricsPage(numbers).text)
        #expect(text.problems == [])
        let failures = text.samples.filter { $0.key.hasPrefix("kubenetmon_server_watch_failures_total{") }
        #expect(failures.count == 2 * ReflectorFailure.allCases.count)
        #expect(failures["kubenetmon_server_watch_failures_total{resource=\"pods\",kind=\"forbidden\"}"] == 4)
        #expect(failures.values.reduce(0, +) == 4)
        #expect(text.samples["kubenetmon_server_watch_unreadable_addresses_total{resource=\"pods\"}"] == 2)
        #expect(text.samples["kubenetmon_server_watch_age_seconds{resource=\"pods\"}"] ?? 0 >= 100)
        #expect(text.samples["kubenetmon_server_watch_age_seconds{resource=\"nodes\"}"] == 0)
        #expect(text.samples["kubenetmon_server_watch_synced{resource=\"nodes\"}"] == 0)
    }

    @Test("a list that was never fetched counts its failures and has no age") func aListThatIsNeverHadIsCounted() {
        var numbers = ServerNumbers()
        var source = CloudRangeCatalog.SourceStatistics(provider: .aws)
        source.failures = 3
        numbers.ranges.sources = [source]
        let samples = MetricsText(MetricsPage(numbers).text).samples
        #expect(samples["kubenetmon_public_ip_refreshes_total{result=\"success\"}"] == 0)
        #expect(samples["kubenetmon_public_ip_refreshes_total{result=\"failure\"}"] == 3)
        #expect(!samples.keys.contains { $0.hasPrefix("kubenetmon_server_range_age_seconds") })
        #expect(numbers.ranges.hasTriedAll)
    }
}
