// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowModel
import FlowWire
import Labeling
import Probes
import TestSupport
import Testing
import TextFormats

@testable import FlowBlocks
@testable import FlowIngest
import ServerCore

/// Names that would be markup if they were not escaped.
private let hostile = "<script>alert('x')</script>\" onload=\"y"
private let escaped = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;y"

private let noon: UInt32 = 1_772_366_400

/// Returns a block of flows, each with the given number of sent bytes.
private func block(_ flows: [(source: EndpointLabels, destination: EndpointLabels, bytes: UInt64)]) -> FlowBlock {
    var block = FlowBlock(environment: "", dayOf: noon)
    for flow in flows {
        block.append(
            LabeledFlow(
                transport: .tcp,
                local: LabeledEndpoint(
                    labels: LabelsReference(flow.source), address: IPAddress(v4: 0x0a00_0001), port: 1),
                remote: LabeledEndpoint(
                    labels: LabelsReference(flow.destination), address: IPAddress(v4: 0x0a00_0002), port: 2),
                connectionClass: flow.destination[.pod].isEmpty ? .publicInternet : .intraVPC,
                sent: FlowCounters(packets: 1, bytes: flow.bytes), received: FlowCounters()),
            observedAt: noon)
    }
    return block
}

private func pod(_ name: String, workload: String = "", zone: String = "z1") -> EndpointLabels {
    EndpointLabels([.availabilityZone: zone, .node: "n-\(name)", .namespace: "shop", .pod: name, .workload: workload])
}

private func report(_ talkers: [[FlowBlock]], at minute: Int = 11) -> TalkerReport {
    let parts = talkers.map { blocks in
        var minutes = TalkerMinutes()
        for block in blocks { minutes.add(block, in: 10) }
        minutes.advance(to: minute)
        return minutes
    }
    return TalkerReport(parts, minute: minute)
}

@Suite struct StatusPageTests {
    @Test("long names from outside are cut", arguments: ["n", "\u{301}"])
    func longNames(_ letter: String) {
        let name = "e" + String(repeating: letter, count: 10_000)
        let hello = Hello(nodeName: name, agentID: .random(), softwareVersion: "test")
        var page = StatusPage()
        page.agents = [
            AgentSummary(ConnectedAgent(hello: hello, remoteAddress: "192.0.2.1"), remoteAddress: "192.0.2.1")
        ]
        let scalars = page.html.body.text.unicodeScalars
        let letters = scalars.split { $0 != letter.unicodeScalars.first }.map(\.count)
        #expect(letters.max() == 251)
    }

    @Test("names from outside are escaped on the status page") func namesFromOutsideAreNeverMarkup() {
        let labels = EndpointLabels([
            .availabilityZone: hostile, .node: "n", .namespace: hostile, .pod: hostile, .workload: hostile,
        ])
        let cloud = EndpointLabels([.cloud: hostile, .region: hostile, .cloudService: hostile])
        let bare = EndpointLabels([.node: hostile])
        var page = StatusPage()
        page.readiness = [HealthCheck("clickhouse", problem: hostile)]
        page.numbers.ingest.errors = [hostile: 1]
        page.numbers.flows.ignored = [hostile: .init()]
        var inserts = Inserter.Statistics()
        inserts.lastError = hostile
        var endpoint = Inserter.Statistics.Endpoint(url: hostile)
        endpoint.lastError = hostile
        inserts.endpoints = [endpoint]
        page.numbers.inserts = inserts
        page.numbers.blocks.rejected = [hostile: .init()]
        page.numbers.watches = [(hostile, .init())]
        page.numbers.watches[0].statistics.lastError = hostile
        var source = CloudRangeCatalog.SourceStatistics(provider: .aws)
        source.lastError = hostile
        page.numbers.ranges.sources = [source]
        page.talkers = report([[block([(labels, cloud, 10), (labels, bare, 5)])]])
        let text = page.html.body.text
        #expect(!text.contains("<script") && !text.contains("\" onload"))
        #expect(text.components(separatedBy: escaped).count - 1 >= 17)
    }

    @Test("the status page says what is not ready, stored or watched") func whatIsMissingIsSaid() {
        var page = StatusPage()
        page.isStored = false
        page.readiness = [HealthCheck("clickhouse", problem: nil)]
        let calm = page.html.body.text
        #expect(calm.contains("class=\"tag good\">ready<") && !calm.contains("id=\"problems\""))
        #expect(calm.contains("Nothing is stored: clickhouse_enabled is false."))
        #expect(calm.contains("labelled no flows to store in its last full minute"))
        #expect(calm.contains("the Kubernetes API is not watched"))
        page.readiness = [HealthCheck("kubernetes", problem: "pods not listed yet")]
        let troubled = page.html.body.text
        #expect(troubled.contains("class=\"tag bad\">not ready<"))
        #expect(troubled.contains("<th>kubernetes</th><td class=\"problem\">pods not listed yet</td>"))
    }

    @Test("the status page shows times by their age") func momentsAreToldByTheirAge() {
        var page = StatusPage()
        page.numbers.watches = [("pods", .init()), ("nodes", .init())]
        page.numbers.watches[0].statistics.isSynced = true
        page.numbers.watches[0].statistics.lastProgress = page.now - .seconds(75)
        page.numbers.blocks.oldestWait = .seconds(3)
        let text = page.html.body.text
        #expect(
            text.contains("<td class=\"number\">1 min 15 s ago</td>")
                && text.contains("<td class=\"number\">never</td>"))
        #expect(text.contains("0 rows in 0 batches, the oldest for 3 s"))
        #expect(!text.contains("HTML(") && !text.contains("Optional"))
    }

    @Test("the status page lists the top talkers first, with their shares")
    func theHeaviestComeFirstWithTheirShares() {
        let (web, db) = (pod("web-1", workload: "Deployment/web"), pod("db-0", zone: "z2"))
        let outside = EndpointLabels()
        // Blocks of two event loops, with a second pod of the same workload.
        let report = report([
            [block([(web, db, 100), (db, web, 50)])],
            [block([(pod("web-2", workload: "Deployment/web"), db, 500), (web, outside, 350)])],
        ])
        #expect(report.minute == 10 && report.isOver && report.bytes == 1_000)
        #expect(report.lines.map(\.bytes) == [600, 350, 50])
        #expect(report.lines.map(\.line.source.name) == ["shop/Deployment/web", "shop/Deployment/web", "shop/db-0"])
        #expect(report.lines.map(\.line.destination.name) == ["shop/db-0", "the internet", "shop/Deployment/web"])
        #expect(report.lines.map(\.line.destination.place) == ["z2", "", "z1"])
        var page = StatusPage()
        page.talkers = report
        let text = page.html.body.text
        #expect(text.contains("<td class=\"number\">600 B</td><td class=\"number\">60.0 %</td>"))
        #expect(
            text.contains("<rect width=\"1000\"") && text.contains("<rect width=\"583\"")
                && text.contains("<rect width=\"83\""))
        #expect(text.contains("in its last full minute, from 00:10 UTC"))
    }
}
