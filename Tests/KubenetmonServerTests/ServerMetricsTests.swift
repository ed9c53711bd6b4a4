// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowIngest
import Operations
import Testing

@testable import KubenetmonServer

@Suite struct ServerMetricsTests {
    private let page: MetricsPage = {
        var ingest = IngestStatistics()
        ingest.errors = ["frame_too_long": 2, "decode_failed": 1]
        ingest.connectedAgents = 3
        ingest.batches = 9
        var flows = FlowAssembler.Statistics()
        flows.labeled = FlowAssembler.Statistics.Amount(flows: 10, bytes: 1_000)
        flows.ignored = [
            "udp": FlowAssembler.Statistics.Amount(flows: 4, bytes: 40),
            "node": FlowAssembler.Statistics.Amount(flows: 5, bytes: 50),
        ]
        var inserts = Inserter.Statistics()
        inserts.inserted = .init(blocks: 2, rows: 20, reportedBytes: 1_000)
        inserts.quarantined = ["refused_data": .init(blocks: 1, rows: 3, reportedBytes: 50)]
        inserts.failedAttemptsByClass = [.transient: 6, .content: 2]
        inserts.batchAge.add(.milliseconds(700))
        inserts.failedAttemptDuration.add(.seconds(700))
        inserts.oldestAge = .milliseconds(1_500)
        inserts.failedAttempts = ["timeout": 6]
        inserts.queuedRows = 7
        return MetricsPage(ingest: ingest, flows: flows, inserts: inserts)
    }()

    @Test(arguments: [
        "kubenetmon_server_errors_total{type=\"decode_failed\"} 1",
        "kubenetmon_server_errors_total{type=\"frame_too_long\"} 2",
        "kubenetmon_server_processed_observations_total{type=\"labeled\"} 10",
        "kubenetmon_server_processed_observations_total{type=\"ignored\"} 9",
        "kubenetmon_server_ignored_bytes_total{reason=\"node\"} 50",
        "kubenetmon_server_ignored_bytes_total{reason=\"udp\"} 40", "kubenetmon_server_labeled_bytes_total 1000",
        "kubenetmon_server_connected_agents 3", "kubenetmon_server_batches_total 9",
        "kubenetmon_worker_rows_total{type=\"inserted\"} 20", "kubenetmon_worker_inserted_bytes_total 1000",
        "kubenetmon_worker_insert_retries_total{reason=\"timeout\"} 6", "kubenetmon_worker_queued_rows 7",
        "kubenetmon_worker_rows_total{type=\"quarantined\"} 3",
        "kubenetmon_worker_lost_bytes_total{reason=\"refused_data\"} 50",
        "kubenetmon_worker_insert_attempts_total{class=\"success\"} 2",
        "kubenetmon_worker_insert_attempts_total{class=\"transient\"} 6",
        "kubenetmon_worker_insert_attempts_total{class=\"operator\"} 0",
        "kubenetmon_worker_insert_batch_age_ms_bucket{le=\"500\"} 0",
        "kubenetmon_worker_insert_batch_age_ms_bucket{le=\"1000\"} 1",
        "kubenetmon_worker_insert_batch_age_ms_sum 700", "kubenetmon_worker_insert_batch_age_ms_count 1",
        "kubenetmon_worker_insert_wait_time_ms_bucket{type=\"failed\",le=\"600000\"} 0",
        "kubenetmon_worker_insert_wait_time_ms_bucket{type=\"failed\",le=\"+Inf\"} 1",
        "kubenetmon_worker_insert_wait_time_ms_count{type=\"inserted\"} 0",
        "kubenetmon_worker_oldest_batch_age_seconds 1.5",
    ])
    func aValueIsUnderItsName(line: String) {
        #expect(page.text.split(separator: "\n").contains(line[...]))
    }

    /// What `promtool check metrics` looks at.
    @Test func everyMetricIsWellFormed() {
        var names: [String] = []
        for line in page.text.split(separator: "\n") {
            if let type = line.wholeMatch(of: /# TYPE ([a-z_]+) (counter|gauge|histogram)/) {
                #expect((type.2 == "counter") == type.1.hasSuffix("_total"), "\(line)")
                names.append(String(type.1))
            } else if let sample = line.wholeMatch(
                of: /([a-z_]+?)(_bucket|_sum|_count)?(\{([a-z]+="[a-z0-9_+I]+",?)+\})? [0-9.e+]+/)
            {
                #expect(names.last == String(sample.1), "\(line)")
            } else {
                #expect(line.wholeMatch(of: /# HELP [a-z_]+ [A-Z].+\./) != nil, "\(line)")
            }
        }
        #expect(Set(names).count == names.count && names.count > 10)
    }
}

@Suite struct RangeMetricsTests {
    @Test func aListThatIsNeverHadIsCounted() {
        var statistics = CloudRangeCatalog.Statistics()
        var source = CloudRangeCatalog.SourceStatistics(provider: .aws)
        source.failures = 3
        statistics.sources = [source]
        var page = MetricsPage()
        page.add(statistics)
        #expect(page.text.contains("kubenetmon_public_ip_refreshes_total{result=\"success\"} 0\n"))
        #expect(page.text.contains("kubenetmon_public_ip_refreshes_total{result=\"failure\"} 3\n"))
        #expect(!page.text.contains("kubenetmon_server_range_age_seconds{"))
        #expect(!statistics.sources.isEmpty && statistics.hasTriedAll)
    }
}
