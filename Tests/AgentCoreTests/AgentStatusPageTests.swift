// SPDX-License-Identifier: Apache-2.0

import AgentCore
import FlowCollection
import FlowModel
import TestSupport
import Testing

@testable import FlowExport
@testable import Operations
@testable import Probes
@testable import TextFormats

@Suite struct AgentStatusPageTests {
    @Test("the agent's status page shows the last collection, the conntrack table, the server and losses")
    func itTellsOfTheLastCollectionTheTableTheServerAndLosses() {
        var numbers = AgentNumbers()
        numbers.maximumEntries = 262_144
        numbers.spoolBytes = 16 << 20
        numbers.now = .seconds(1_795_000_010)
        func text(_ readiness: [HealthCheck] = []) -> String {
            HTMLPage(numbers, nodeName: "<b>node", readiness: readiness).body.text
        }
        let early = text([HealthCheck("server", problem: "none & nobody"), HealthCheck("collection", problem: nil)])
        #expect(early.contains("<td>none yet</td>") && early.contains("<td>not connected</td>"))
        #expect(early.contains("<p class=\"problem\">server: none &amp; nobody</p>"))
        #expect(early.contains(" on &lt;b&gt;node<"))
        numbers.collection.lastSuccess = 1_795_000_007
        numbers.collection.lastDuration = .milliseconds(12)
        numbers.entries = 1_234
        numbers.export.isConnected = true
        numbers.events.received.droppedEvents = 2
        let late = text()
        #expect(late.contains("<td>3 s ago, took 12 ms</td>") && late.contains("<td>1,234 of 262,144</td>"))
        #expect(late.contains("<td>connected</td>") && late.contains("<td>2, about 0 B</td>"))
        #expect(!late.contains("problem"))
    }

    @Test("the agent's status page, metrics and summaries accept extreme numbers")
    func anyNumbers() {
        let (naturals, integers) = (EdgeNumbers.integers(UInt64.self), EdgeNumbers.integers(Int.self))
        var last = SummaryService.Numbers(AgentNumbers())
        for (place, duration) in EdgeNumbers.durations.enumerated() {
            let (natural, integer) = (naturals[place % naturals.count], integers[place % integers.count])
            let amount = FlowAmount(flows: natural, bytes: ~natural)
            var numbers = AgentNumbers()
            (numbers.now, numbers.spoolBytes) = (duration, integer)
            (numbers.entries, numbers.maximumEntries) = (integer, integer)
            (numbers.collection.duration, numbers.collection.lastDuration) = (duration, duration)
            (numbers.collection.cpuTime, numbers.events.cpuTime) = (duration, duration)
            numbers.collection.collections = natural
            numbers.collection.lastSuccess = EdgeNumbers.doubles[place % EdgeNumbers.doubles.count]
            (numbers.collection.lostAnswers, numbers.collection.malformedEntries) = (natural, .max)
            for reason in IgnoredFlows.Reason.allCases { numbers.collection.ignored[reason] = natural }
            for reason in FlowLoss.allCases { numbers.export.balance.lost[reason] = amount }
            numbers.events.received.droppedBytesEstimate = natural
            (numbers.events.received.droppedEvents, numbers.events.received.malformedEvents) = (natural, natural)
            for source in FlowSource.allCases { numbers.export.balance.collected[source] = amount }
            (numbers.export.balance.kept, numbers.export.balance.queued) = (amount, amount)
            (numbers.export.unacknowledgedBytes, numbers.export.restoredBatches) = (integer, integer)
            numbers.export.oldestObservation = natural
            numbers.export.spool = SpoolStatistics()
            let text = HTMLPage(numbers, nodeName: "", readiness: []).body.text
            #expect(text.contains("<th>Last collection</th>"))
            #expect(MetricsPage(numbers).text.contains("\nkubenetmon_agent_collections_total \(natural)\n"))
            let next = SummaryService.Numbers(numbers)
            #expect(SummaryService.growth(from: last, to: next)["collections"] != nil)
            last = next
        }
    }
}
