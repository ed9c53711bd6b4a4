// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
package import FlowBlocks
package import FlowIngest
import FlowModel
import KubernetesAPI
import Labeling
import Operations
package import Probes
package import TextFormats

/// The status page that the server shows at `/`, with values of one moment.
package struct StatusPage {
    /// The clients that get the page.
    package enum Audience: String, CaseIterable, Sendable {
        /// Every client that reaches the port.
        case everyone
        /// Clients on the host itself, as with `kubectl port-forward`.
        case local
        /// No client.
        case off
    }

    /// The maximum number of agents listed; those that have been silent for longest are chosen.
    static let maximumAgents = 50

    package var uptime = Duration.zero
    package var readiness: [HealthCheck] = []
    package var numbers = ServerNumbers()
    package var agents: [AgentSummary] = []
    /// Whether flows are stored.
    package var isStored = true
    /// The limit on the memory of blocks that are being filled or wait for ClickHouse, in bytes.
    package var maximumQueuedBytes = 0
    package var talkers = TalkerReport([], minute: 0)
    package var now = ContinuousClock.now

    /// Makes the page of a server that has just started.
    package init() {}

    package var html: HTMLPage {
        HTMLPage(
            title: "kubenetmon-server", refreshSeconds: 30, style: Self.style,
            body: """
                \(header)
                <main>
                \(problems)
                \(talkersSection)
                <div class="columns">
                \(agentsSection)
                \(insertsSection)
                \(watchesSection)
                \(rangesSection)
                \(ignoredSection)
                \(lossesSection)
                </div>
                </main>
                """)
    }

    private var header: HTML {
        let tag: HTML =
            readiness.contains { $0.problem != nil }
            ? "<span id=\"readiness\" class=\"tag bad\">not ready</span>"
            : "<span id=\"readiness\" class=\"tag good\">ready</span>"
        return """
            <header>
            <h1>kubenetmon-server</h1> \(tag)
            <span class="faint">\(Daemon.version), up for \(ReadableText.duration(uptime))</span>
            <span class="faint"><a href="/metrics">metrics</a> <a href="/ready">readiness</a></span>
            </header>
            """
    }

    private var problems: HTML {
        let unmet = readiness.filter { $0.problem != nil }
        guard !unmet.isEmpty else { return "" }
        let rows: [HTML] = unmet.map { "<tr><th>\($0.name)</th><td class=\"problem\">\($0.problem ?? "")</td></tr>\n" }
        return section("problems", "Readiness problems", "<table class=\"facts\"><tbody>\n\(rows)</tbody></table>")
    }

    private var agentsSection: HTML {
        let ingest = numbers.ingest
        let rows: [HTML] = agents.map { agent in
            """
            <tr><th>\(short(agent.nodeName))<br><small>\(agent.remoteAddress)</small></th>\
            <td>\(short(agent.softwareVersion))</td>\
            <td class="number">\(agent.lastBatch.map(ago) ?? "none yet")</td>\
            <td class="number">\(ReadableText.count(agent.batches))</td>\
            <td>\(clock(of: agent))</td></tr>

            """
        }
        let skewed: HTML =
            ingest.skewedAgents == 0
            ? ""
            : """
            <p class="problem">The clocks of \(ReadableText.count(ingest.skewedAgents)) agents differ from this server's by \
            more than a second.</p>
            """
        let more: HTML =
            agents.count < ingest.connectedAgents
            ? "<p class=\"faint\">Agents with the oldest last batch:</p>" : ""
        return section(
            "agents", "Agents",
            """
            <p>\(ReadableText.count(ingest.connectedAgents)) connected; \(ReadableText.count(ingest.batches)) batches with \
            \(ReadableText.count(ingest.flows)) flows so far.</p>\(skewed)\(more)
            \(table(["Node", "Version", "#Last batch", "#Batches", "Clock"], rows))
            """)
    }

    /// Returns the difference of an agent's clock from the server's, in words.
    private func clock(of agent: AgentSummary) -> HTML {
        guard let lead = agent.clockLead else { return "unknown" }
        guard agent.isClockSkewed else { return "in step" }
        return lead < .zero
            ? "<span class=\"problem\">\(ReadableText.duration(.zero - lead)) behind</span>"
            : "<span class=\"problem\">\(ReadableText.duration(lead)) ahead</span>"
    }

    private var insertsSection: HTML {
        let (inserts, blocks) = (numbers.inserts, numbers.blocks)
        guard isStored else {
            return section("inserts", "ClickHouse", "<p>Nothing is stored: clickhouse_enabled is false.</p>")
        }
        let failures = FailureClass.allCases.map {
            "\(ReadableText.count(inserts.failedAttemptsByClass[$0] ?? 0)) \($0.rawValue)"
        }
        let held = blocks.queuedBytes.clampedAdding(numbers.memory.gatheringBytes)
        let facts: [(String, HTML)] = [
            (
                "Inserted",
                """
                \(ReadableText.count(blocks.stored.rows)) rows in \(ReadableText.count(blocks.stored.blocks)) batches, \
                \(ReadableText.bytes(blocks.stored.reportedBytes)) of traffic
                """
            ),
            (
                "Waiting",
                """
                \(ReadableText.count(blocks.queuedRows)) rows in \(ReadableText.count(blocks.queuedBlocks)) batches\
                \(blocks.oldestWait.map { ", the oldest for " + ReadableText.duration($0) } ?? "")
                """
            ),
            (
                "Memory",
                """
                \(ReadableText.bytes(held)) of \(ReadableText.bytes(maximumQueuedBytes))\
                \(bar(UInt64(clamping: held), of: UInt64(clamping: maximumQueuedBytes)))
                """
            ),
            ("Failed attempts", "\(failures.joined(separator: ", "))"),
            (
                "Last attempt",
                inserts.lastError.map { error in
                    "<span class=\"problem\">failed (\(inserts.lastFailureClass?.rawValue ?? "?")): \(error)</span>"
                } ?? (inserts.endpoints.contains { $0.attempts > 0 } ? "succeeded" : "none yet")
            ),
        ]
        let rows: [HTML] = facts.map { "<tr><th>\($0.0)</th><td>\($0.1)</td></tr>\n" }
        let endpoints: [HTML] = inserts.endpoints.map { endpoint in
            """
            <tr><th>\(endpoint.url)\(problem(endpoint.lastError))</th>\
            <td class="number">\(ReadableText.count(endpoint.attempts))</td>\
            <td class="number">\(ReadableText.count(endpoint.failures))</td></tr>

            """
        }
        return section(
            "inserts", "ClickHouse",
            """
            <table class="facts"><tbody>
            \(rows)</tbody></table>
            \(table(["Endpoint", "#Inserts", "#Failed"], endpoints))
            """)
    }

    private var watchesSection: HTML {
        let index = numbers.index
        let counts = """
            \(ReadableText.count(index.pods)) pods, \(ReadableText.count(index.nodes)) nodes, \
            \(ReadableText.count(index.services)) services and \(ReadableText.count(index.replicaSets)) ReplicaSets are known.
            """
        let rows: [HTML] = numbers.watches.map { name, watch in
            """
            <tr><th>\(name)\(problem(watch.lastError))</th><td>\(tag(watch.isSynced, "synced", "not synced"))</td>\
            <td class="number">\(ReadableText.count(watch.listedObjects))</td>\
            <td class="number">\(watch.lastProgress.map(ago) ?? "never")</td>\
            <td class="number">\(ReadableText.count(watch.watchRestarts))</td>\
            <td class="number">\(ReadableText.count(watch.failures.values.clampedSum))</td></tr>

            """
        }
        let note: HTML =
            numbers.watches.isEmpty
            ? "<p class=\"faint\">From the inventory: the Kubernetes API is not watched.</p>" : ""
        return section(
            "watches", "Cluster",
            """
            <p>\(counts)</p>\(note)
            \(table(["Watch", "State", "#Objects", "#Last heard", "#Restarts", "#Failures"], rows))
            """)
    }

    private var rangesSection: HTML {
        let rows: [HTML] = numbers.ranges.sources.map { source in
            """
            <tr><th>\(source.provider.rawValue)\(problem(source.lastError))</th><td>\(source.origin.rawValue)</td>\
            <td class="number">\(source.age.map { ReadableText.duration(.seconds($0)) } ?? "-")</td>\
            <td class="number">\(ReadableText.count(source.prefixes))</td>\
            <td class="number">\(ReadableText.count(source.failures))</td></tr>

            """
        }
        let text: HTML =
            numbers.ranges.sources.isEmpty
            ? "No cloud's address list is used."
            : "\(ReadableText.count(numbers.ranges.prefixes)) prefixes after merging."
        return section(
            "ranges", "Cloud ranges",
            "<p>\(text)</p>\n\(table(["List", "From", "#Age", "#Prefixes", "#Failures"], rows))")
    }

    private var ignoredSection: HTML {
        let labeled = numbers.flows.labeled
        let ignored = numbers.flows.ignored.sorted { ($1.value.bytes, $0.key) < ($0.value.bytes, $1.key) }
        let rows: [HTML] = ignored.map { reason, amount in
            """
            <tr><th>\(reason)</th><td class="number">\(ReadableText.count(amount.flows))</td>\
            <td class="number">\(ReadableText.bytes(amount.bytes))</td></tr>

            """
        }
        return section(
            "ignored", "Not recorded",
            """
            <p>\(ReadableText.count(labeled.flows)) flows with \(ReadableText.bytes(labeled.bytes)) were \
            labelled. Ignored flows, by reason:</p>
            \(table(["Reason", "#Flows", "#Bytes"], rows, empty: "Nothing."))
            """)
    }

    private var lossesSection: HTML {
        var rows: [HTML] = numbers.blocks.rejected.sorted { $0.key < $1.key }.map { reason, amount in
            """
            <tr><th>Rejected by ClickHouse: \(reason)</th>\
            <td class="number">\(ReadableText.count(amount.rows)) rows</td>\
            <td class="number">\(ReadableText.bytes(amount.reportedBytes))</td></tr>

            """
        }
        if numbers.flows.dropped.flows > 0 {
            rows.append(
                """
                <tr><th>Dropped: clickhouse_enabled is false</th>\
                <td class="number">\(ReadableText.count(numbers.flows.dropped.flows)) flows</td>\
                <td class="number">\(ReadableText.bytes(numbers.flows.dropped.bytes))</td></tr>

                """)
        }
        let refused: [HTML] = numbers.ingest.errors.sorted { $0.key < $1.key }.map { reason, count in
            "<tr><th>\(reason)</th><td class=\"number\">\(ReadableText.count(count))</td></tr>\n"
        }
        let connections: HTML =
            refused.isEmpty ? "" : table(["Connections rejected or closed, by reason", "#Connections"], refused)
        return section(
            "losses", "Losses",
            """
            <p class="faint">Losses in this server. For losses in agents, see the agents' metrics.</p>
            \(table(["Reason", "#Amount", "#Bytes"], rows, empty: "Nothing."))
            \(connections)
            """)
    }

    // MARK: - Building blocks of sections

    private func section(_ id: String, _ title: String, _ content: HTML) -> HTML {
        "<section id=\"\(id)\">\n<h2>\(title)</h2>\n\(content)\n</section>"
    }

    /// Returns a table, or `empty` if there are no rows. Columns whose titles begin with `#` hold numbers.
    private func table(_ titles: [String], _ rows: [HTML], empty: String? = nil) -> HTML {
        guard !rows.isEmpty else { return empty.map { "<p>\($0)</p>" } ?? "" }
        let heads: [HTML] = titles.map { title in
            title.hasPrefix("#")
                ? "<th class=\"number\">\(String(title.dropFirst()))</th>" : "<th>\(title)</th>"
        }
        return """
            <div class="scroll"><table>
            <thead><tr>\(heads)</tr></thead>
            <tbody>
            \(rows)</tbody></table></div>
            """
    }

    private func problem(_ error: String?) -> HTML {
        error.map { "<br><small class=\"problem\">\($0)</small>" } ?? ""
    }

    private func tag(_ isGood: Bool, _ good: String, _ bad: String) -> HTML {
        isGood ? "<span class=\"tag good\">\(good)</span>" : "<span class=\"tag bad\">\(bad)</span>"
    }

    private func ago(_ moment: ContinuousClock.Instant) -> String {
        "\(ReadableText.duration(moment.duration(to: now))) ago"
    }

    /// Returns a text chosen by a peer, shortened if it is longer than 253 characters.
    private func short(_ text: String) -> String {
        // A character can consist of any number of scalars.
        let scalars = text.unicodeScalars
        return scalars.count > 253 ? String(String.UnicodeScalarView(scalars.prefix(252))) + "…" : text
    }
}
