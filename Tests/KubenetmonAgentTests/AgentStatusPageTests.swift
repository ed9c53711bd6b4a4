// SPDX-License-Identifier: Apache-2.0

import Operations
import Testing

@testable import Conntrack
@testable import FlowExport
@testable import KubenetmonAgent

@Suite struct AgentStatusPageTests {
    @Test func itTellsOfTheLastCollectionTheTableTheServerAndLosses() {
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
}
