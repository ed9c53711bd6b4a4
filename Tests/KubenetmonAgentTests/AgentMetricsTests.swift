// SPDX-License-Identifier: Apache-2.0

import Operations
import Testing

@testable import FlowExport
@testable import KubenetmonAgent

@Suite struct AgentMetricsTests {
    private let page: MetricsPage = {
        var collection = CollectionService.Statistics()
        collection.collectedFlows = 10
        collection.collectedBytes = 1_000
        collection.ignored = [.idle: 3, .loopback: 4]
        collection.failedCollections = 2
        collection.lastDuration = .milliseconds(3)
        collection.lastSuccess = 1_795_000_000.25
        var events = EventService.Statistics()
        events.collectedFlows = 5
        events.collectedBytes = 500
        events.lostBytes = 7
        var export = FlowExporter.Statistics()
        export.failedConnections = 6
        export.isConnected = true
        return MetricsPage(collection: collection, events: events, export: export, selfCheck: [.events: "off"])
    }()

    @Test(arguments: [
        // The names of kubenetmon's agent.
        "kubenetmon_collector_errors_total{type=\"collection_failed\"} 2",
        "kubenetmon_collector_errors_total{type=\"send_failed\"} 6",
        "kubenetmon_collector_processed_flows_total{type=\"ignored\"} 7",
        "kubenetmon_collector_processed_flows_total{type=\"sent\"} 15",
        "kubenetmon_collector_last_collection_duration_us 3000",
        "kubenetmon_collector_last_successful_collection_timestamp_unix_seconds 1795000000.25",
        // What is collected and lost.
        "kubenetmon_agent_collected_bytes_total{kind=\"scrape\"} 1000",
        "kubenetmon_agent_collected_bytes_total{kind=\"destroy\"} 500",
        "kubenetmon_agent_lost_bytes_total{reason=\"spool_full\"} 7",
        "kubenetmon_agent_ignored_flows_total{reason=\"protocol\"} 0",
        "kubenetmon_agent_self_check{check=\"events\"} 0", "kubenetmon_agent_self_check{check=\"accounting\"} 1",
        "kubenetmon_agent_server_connected 1",
    ])
    func aValueIsUnderItsName(line: String) {
        #expect(page.text.split(separator: "\n").contains(line[...]))
    }

    /// What `promtool check metrics` looks at.
    @Test func everyMetricIsWellFormed() {
        var names: [String] = []
        for line in page.text.split(separator: "\n") {
            if let type = line.wholeMatch(of: /# TYPE ([a-z_]+) (counter|gauge)/) {
                #expect((type.2 == "counter") == type.1.hasSuffix("_total"), "\(line)")
                names.append(String(type.1))
            } else if let sample = line.wholeMatch(of: /([a-z_]+)(\{[a-z]+="[a-z_]+"\})? [0-9.e+]+/) {
                #expect(names.last == String(sample.1), "\(line)")
            } else {
                #expect(line.wholeMatch(of: /# HELP [a-z_]+ [A-Z].+\./) != nil, "\(line)")
            }
        }
        #expect(Set(names).count == names.count && names.count > 15)
    }
}
