// SPDX-License-Identifier: Apache-2.0

import FlowExport
import FlowModel
import Operations
package import Probes
package import TextFormats

extension HTMLPage {
    /// Makes the agent's status page, which is served at `/`.
    package init(_ numbers: AgentNumbers, nodeName: String, readiness: [HealthCheck]) {
        let (collection, events, export) = (numbers.collection, numbers.events, numbers.export)
        let lost = export.balance.lost[.noRoom] ?? FlowAmount()
        let last =
            collection.lastSuccess > 0
            ? """
            \(ReadableText.duration(numbers.now.clampedSubtracting(Duration(clampingSeconds: collection.lastSuccess)))) ago, took \
            \(ReadableText.duration(collection.lastDuration))
            """ : "none yet"
        let entries = ReadableText.count(numbers.entries ?? collection.tableEntries)
        let facts: [(String, String)] = [
            ("Last collection", last),
            ("Conntrack entries", numbers.maximumEntries.map { "\(entries) of \(ReadableText.count($0))" } ?? entries),
            ("Server", export.isConnected ? "connected" : "not connected"),
            (
                "Unacknowledged",
                "\(ReadableText.bytes(export.unacknowledgedBytes)) of \(ReadableText.bytes(numbers.spoolBytes))"
            ),
            (
                "Lost because the spool was full",
                "\(ReadableText.count(lost.flows)) flows, \(ReadableText.bytes(lost.bytes))"
            ),
            (
                "Events dropped by the kernel",
                "\(ReadableText.count(events.received.droppedEvents)), about \(ReadableText.bytes(events.received.droppedBytesEstimate))"
            ),
        ]
        let rows: [HTML] = facts.map { "<tr><th>\($0.0)</th><td>\($0.1)</td></tr>\n" }
        let problems: [HTML] = readiness.compactMap { check in
            check.problem.map { "<p class=\"problem\">\(check.name): \($0)</p>\n" }
        }
        self.init(
            title: "kubenetmon-agent", refreshSeconds: 30,
            body: """
                <header>
                <h1>kubenetmon-agent</h1>
                <span class="faint">\(Daemon.version) on \(nodeName)</span>
                <span class="faint"><a href="/metrics">metrics</a> <a href="/ready">readiness</a> \
                <a href="/live">liveness</a></span>
                </header>
                <main><section>
                \(problems)<table class="facts"><tbody>
                \(rows)</tbody></table>
                </section></main>
                """)
    }
}
