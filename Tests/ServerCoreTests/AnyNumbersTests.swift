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

/// The status page, metrics and summaries are well formed for any numbers.
@Suite struct AnyNumbersTests {
    /// Draws numbers of a type from the values that break arithmetic.
    private struct Draw {
        var generator = SeededGenerator(seed: 12)
        private let naturals = EdgeNumbers.integers(UInt64.self)
        private let integers = EdgeNumbers.integers(Int.self)

        mutating func natural() -> UInt64 { naturals.randomElement(using: &generator) ?? 0 }
        mutating func integer() -> Int { integers.randomElement(using: &generator) ?? 0 }
        mutating func duration() -> Duration { EdgeNumbers.durations.randomElement(using: &generator) ?? .zero }
        mutating func moment() -> ContinuousClock.Instant {
            // Int32 seconds cover a machine's lifetime; a larger offset could overflow the instant.
            .now + .seconds(Int32(truncatingIfNeeded: integer()))
        }

        mutating func amount() -> FlowAmount { .init(flows: natural(), bytes: natural()) }
        mutating func blocks() -> BlockAmount {
            .init(blocks: natural(), flows: natural(), rows: natural(), reportedBytes: natural())
        }
    }

    private func ingest(_ draw: inout Draw) -> IngestStatistics {
        var ingest = IngestStatistics()
        (ingest.connectedAgents, ingest.openConnections) = (draw.integer(), draw.integer())
        (ingest.connections, ingest.acceptFailures, ingest.batches) = (draw.natural(), draw.natural(), draw.natural())
        (ingest.flows, ingest.wireBytes, ingest.agedConnections) = (draw.natural(), draw.natural(), draw.natural())
        (ingest.duplicateBatches, ingest.duplicateFlows) = (draw.natural(), draw.natural())
        (ingest.skewedAgents, ingest.greatestClockSkew) = (draw.integer(), draw.duration())
        ingest.clockLeads = ["node-a": draw.duration()]
        for reason in IngestStatistics.errorReasons { ingest.errors[reason] = draw.natural() }
        return ingest
    }

    private func flows(_ draw: inout Draw) -> FlowAssembler.Statistics {
        var flows = FlowAssembler.Statistics()
        (flows.received, flows.labeled, flows.dropped) = (draw.amount(), draw.amount(), draw.amount())
        (flows.gathering, flows.incredibleTimes) = (draw.amount(), draw.natural())
        flows.impossibleFlows = draw.natural()
        for reason in FlowAssembler.Statistics.ignoredReasons { flows.ignored[reason] = draw.amount() }
        return flows
    }

    private func blocks(_ draw: inout Draw) -> SinkStatistics {
        var blocks = SinkStatistics()
        blocks.stored = draw.blocks()
        for reason in ClickHouseError.reasons { blocks.rejected[reason] = draw.blocks() }
        (blocks.pendingFlows, blocks.pendingBytes) = (draw.natural(), draw.natural())
        (blocks.queuedBlocks, blocks.queuedRows, blocks.queuedBytes) = (draw.integer(), draw.integer(), draw.integer())
        (blocks.oldestAge, blocks.oldestWait) = (draw.duration(), draw.duration())
        return blocks
    }

    private func memory(_ draw: inout Draw) -> BlockLedger.Memory {
        var memory = BlockLedger.Memory()
        (memory.gatheringBytes, memory.maximumBytes) = (draw.integer(), draw.integer())
        memory.pressureTime = draw.duration()
        return memory
    }

    private func inserts(_ draw: inout Draw) -> Inserter.Statistics {
        var inserts = Inserter.Statistics()
        (inserts.withoutViews, inserts.possiblyDoubled) = (draw.blocks(), draw.blocks())
        for reason in ClickHouseError.reasons { inserts.failedAttempts[reason] = draw.natural() }
        for failure in FailureClass.allCases { inserts.failedAttemptsByClass[failure] = draw.natural() }
        (inserts.rescuedBatches, inserts.voidBlocks) = (draw.natural(), draw.natural())
        var endpoint = Inserter.Statistics.Endpoint(url: "")
        (endpoint.attempts, endpoint.failures) = (draw.natural(), draw.natural())
        inserts.endpoints = [endpoint]
        for _ in 0..<3 {
            inserts.successfulAttemptDuration.add(draw.duration())
            inserts.batchRows.add(draw.natural())
        }
        return inserts
    }

    private func watch(_ draw: inout Draw) -> ReflectorStatistics {
        var watch = ReflectorStatistics()
        (watch.listedObjects, watch.changes) = (draw.integer(), draw.natural())
        (watch.lastProgress, watch.watchingSince) = (draw.moment(), draw.moment())
        (watch.relists, watch.watchRestarts) = (draw.natural(), draw.natural())
        (watch.malformedObjects, watch.unreadableAddresses) = (draw.natural(), draw.natural())
        for failure in ReflectorFailure.allCases { watch.failures[failure] = draw.natural() }
        return watch
    }

    private func numbers(_ draw: inout Draw) -> ServerNumbers {
        var ranges = CloudRangeCatalog.Statistics()
        (ranges.prefixes, ranges.contested, ranges.changes) = (draw.integer(), draw.integer(), draw.natural())
        for provider in [RangeProvider.aws, .azure] {
            var source = CloudRangeCatalog.SourceStatistics(provider: provider)
            (source.prefixes, source.skipped, source.age) = (draw.integer(), draw.integer(), draw.integer())
            (source.successes, source.failures) = (draw.natural(), draw.natural())
            ranges.sources.append(source)
        }
        var numbers = ServerNumbers()
        (numbers.ingest, numbers.flows, numbers.memory) = (ingest(&draw), flows(&draw), memory(&draw))
        (numbers.blocks, numbers.inserts, numbers.ranges) = (blocks(&draw), inserts(&draw), ranges)
        numbers.watches = [("pods", watch(&draw)), ("nodes", watch(&draw))]
        return numbers
    }

    @Test("the server's status page, metrics and summaries accept extreme numbers")
    func anyNumbers() {
        var draw = Draw()
        var last = SummaryService.Numbers(ServerNumbers())
        for _ in 0..<300 {
            let numbers = numbers(&draw)
            var page = StatusPage()
            page.numbers = numbers
            (page.uptime, page.maximumQueuedBytes) = (draw.duration(), draw.integer())
            page.readiness = [
                HealthCheck("clickhouse", problem: numbers.inserts.problem(oldestWait: numbers.blocks.oldestWait))
            ]
            page.now = draw.moment()
            page.talkers = TalkerReport([TalkerMinutes()], minute: draw.integer())
            #expect(page.html.body.text.contains("id=\"losses\""))
            for part in 0..<4 {
                let bar = page.bar(draw.natural() >> part, of: draw.natural()).text
                #expect(bar.contains("<rect width=\"") && !bar.contains("width=\"-"))
            }
            #expect(MetricsPage(numbers).text.contains("\nkubenetmon_server_received_bytes_total "))
            let next = SummaryService.Numbers(numbers)
            #expect(SummaryService.growth(from: last, to: next).count >= next.count - 1)
            last = next
        }
    }

    @Test("bytes of a minute that exceed 64 bits saturate")
    func heavyTalkers() {
        var minutes = TalkerMinutes()
        let (here, there) = (
            EndpointLabels([.node: "a", .namespace: "shop", .pod: "a"]),
            EndpointLabels([.node: "b", .namespace: "shop", .pod: "b"])
        )
        for (source, destination) in [(here, there), (there, here), (here, there)] {
            var block = FlowBlock(environment: "", dayOf: 600)
            block.append(
                LabeledFlow(
                    transport: .tcp,
                    local: LabeledEndpoint(
                        labels: LabelsReference(source), address: IPAddress(v4: 0x0a00_0001), port: 1),
                    remote: LabeledEndpoint(
                        labels: LabelsReference(destination), address: IPAddress(v4: 0x0a00_0002), port: 2),
                    connectionClass: .intraVPC, sent: FlowCounters(packets: 1, bytes: 1 << 63),
                    received: FlowCounters()),
                observedAt: 600)
            minutes.add(block, in: 10)
        }
        let report = TalkerReport([minutes, minutes], minute: 10)
        #expect(report.bytes == .max && report.lines.map(\.bytes) == [.max, .max])
        var page = StatusPage()
        page.talkers = report
        #expect(page.html.body.text.contains("<td class=\"number\">16.0 EiB</td><td class=\"number\">100.0 %</td>"))
    }
}
