// SPDX-License-Identifier: Apache-2.0

package import FlowCollection
package import FlowExport
import FlowModel
import Operations
package import Probes
import TransportSecurity

/// The values of the agent's metrics, summaries and status page, all of one moment.
package struct AgentNumbers: Sendable {
    /// Statistics of collections.
    package var collection = CollectionService.Statistics()
    /// Statistics of the events of ended connections.
    package var events = EventService.Statistics()
    /// Statistics of the export of batches.
    package var export = FlowExporter.Statistics()
    /// The reader's own counters.
    package var counters: [ReaderCounter] = []
    /// Every condition of the self-check.
    package var conditions: [SelfCheck.Condition] = []
    /// Conditions that do not hold, with their problems.
    package var problems: [SelfCheck.Condition: String] = [:]
    /// Entries in the kernel's table; nil if the kernel does not report them.
    package var entries: Int?
    /// The maximum number of entries in the kernel's table; nil if the kernel does not report it.
    package var maximumEntries: Int?
    /// The limit on unacknowledged batches, in bytes.
    package var spoolBytes = 0
    /// The time since the Unix epoch.
    package var now = Duration.zero

    /// Makes the numbers of an agent that has just started.
    package init() {}

    /// Makes the numbers of collection and export; the others are for the caller to set.
    package init(
        collection: CollectionService, events: EventService, reader: any ConnectionEvents,
        export: FlowExporter.Statistics, selfCheck: SelfCheck
    ) {
        self.collection = collection.statistics
        self.events = events.statistics
        self.export = export
        counters = reader.counters
        conditions = selfCheck.conditions
        problems = selfCheck.problems
        problems[.spool] = export.spool?.problem
    }

    /// The lost flows whose bytes are known, by the metrics' names for the reasons.
    var lost: [(reason: String, amount: FlowAmount)] {
        func amount(_ reasons: FlowLoss...) -> FlowAmount {
            reasons.compactMap { export.balance.lost[$0] }.reduce(FlowAmount(), +)
        }
        return [("spool_full", amount(.noRoom, .noRoomToRestore)), ("spool_corrupt", amount(.corruption))]
    }
}

extension MetricsPage {
    /// Makes the page of the agent's metrics. Names that begin with `kubenetmon_collector_` come from ClickHouse's kubenetmon.
    package init(_ numbers: AgentNumbers) {
        self.init()
        add(numbers.collection, numbers.events, numbers.export)
        addFlows(numbers)
        addExport(numbers)
        addSpool(numbers.export)
        addKernel(numbers)
    }

    private mutating func add(
        _ collection: CollectionService.Statistics, _ events: EventService.Statistics, _ export: FlowExporter.Statistics
    ) {
        add(
            .counter, "kubenetmon_collector_errors_total", "Failures by type.", label: "type",
            [("collection_failed", collection.failedCollections), ("send_failed", export.failedConnections)])
        add(
            .gauge, "kubenetmon_collector_last_collection_duration_us",
            "Duration of the last collection in microseconds.",
            Int(clamping: collection.lastDuration / .microseconds(1)))
        add(
            .gauge, "kubenetmon_collector_last_successful_collection_timestamp_unix_seconds",
            "End of the last collection without an error, in seconds since the Unix epoch.", collection.lastSuccess)
        add(.counter, "kubenetmon_agent_collections_total", "Collections started.", collection.collections)
        add(
            .counter, "kubenetmon_agent_collection_seconds_total", "Time spent in collections.",
            collection.duration / .seconds(1))
        add(
            .counter, "kubenetmon_agent_cpu_seconds_total", "CPU time, by task.", label: "task",
            [("collection", collection.cpuTime / .seconds(1)), ("events", events.cpuTime / .seconds(1))])
        add(
            .counter, "kubenetmon_agent_deferred_collections_total",
            "Collections skipped or cut short because too many bytes were unacknowledged; counters stay in the kernel.",
            collection.deferredCollections)
        add(
            .counter, "kubenetmon_agent_interrupted_collections_total",
            "Collections during which the table changed, so that entries may be left for the next collection.",
            collection.interruptedCollections)
        add(
            .counter, "kubenetmon_agent_boundary_hits_total",
            "Entries whose original direction the kernel zeroed without reporting it, between two messages.",
            collection.boundaryHits)
        add(
            .counter, "kubenetmon_agent_gone_entries_total",
            "Entries that ended between the dump and their own request; their events carry their counters.",
            collection.goneEntries)
    }

    private mutating func addFlows(_ numbers: AgentNumbers) {
        let (collection, events, balance) = (numbers.collection, numbers.events, numbers.export.balance)
        let collected = FlowSource.allCases.map { ($0.rawValue, balance.collected[$0] ?? FlowAmount()) }
        let ignored: [(String, UInt64)] = IgnoredFlows.Reason.allCases.map {
            ($0.rawValue, collection.ignored[$0] &+ events.received.ignored[$0])
        }
        add(
            .counter, "kubenetmon_collector_processed_flows_total", "Conntrack entries, by outcome.",
            label: "type",
            [
                ("sent", balance.allCollected.flows),
                ("ignored", ignored.reduce(0) { $0 &+ $1.1 }),
            ])
        add(
            .counter, "kubenetmon_agent_ignored_flows_total", "Conntrack entries ignored, by reason.",
            label: "reason", ignored)
        add(
            .counter, "kubenetmon_agent_collected_bytes_total",
            "Network bytes collected from open (scrape) and ended (destroy) connections.",
            label: "kind", collected.map { ($0.0, $0.1.bytes) })
        add(
            .counter, "kubenetmon_agent_collected_flows_total",
            "Flows collected from open (scrape) and ended (destroy) connections.", label: "kind",
            collected.map { ($0.0, $0.1.flows) })
        add(
            .counter, "kubenetmon_agent_merged_flows_total",
            "Flows merged, before they were sent, into others of the same connection and minute.",
            balance.mergedFlows)
        add(
            .counter, "kubenetmon_agent_acknowledged_bytes_total",
            "Network bytes that a server has acknowledged as stored in ClickHouse.", balance.acknowledged.bytes)
        add(
            .counter, "kubenetmon_agent_acknowledged_flows_total",
            "Flows that a server has acknowledged as stored in ClickHouse.", balance.acknowledged.flows)
        add(
            .gauge, "kubenetmon_agent_unacknowledged_bytes", "Network bytes not yet acknowledged.",
            balance.unacknowledged.bytes)
        add(
            .gauge, "kubenetmon_agent_unacknowledged_flows", "Flows not yet acknowledged.",
            balance.unacknowledged.flows)
        add(
            .counter, "kubenetmon_agent_lost_bytes_total",
            "Network bytes lost and counted in no other metric, by reason; for dropped events, an estimate.",
            label: "reason",
            numbers.lost.map { ($0.reason, $0.amount.bytes) }
                + [("event_overrun_estimate", events.received.droppedBytesEstimate)])
        add(
            .counter, "kubenetmon_agent_lost_flows_total", "Flows lost and counted in no other metric, by reason.",
            label: "reason",
            numbers.lost.map { ($0.reason, $0.amount.flows) } + [
                ("answer_lost", collection.lostAnswers),
                ("malformed", collection.malformedEntries &+ events.received.malformedEvents),
                ("event_overrun", events.received.droppedEvents),
            ])
    }

    private mutating func addExport(_ numbers: AgentNumbers) {
        let export = numbers.export
        add(
            .gauge, "kubenetmon_agent_unacknowledged_frame_bytes",
            "Encoded bytes of batches not yet acknowledged.", export.unacknowledgedBytes)
        add(
            .gauge, "kubenetmon_agent_spool_max_bytes",
            "Limit on the encoded bytes of unacknowledged batches (SPOOL_BYTES).", numbers.spoolBytes)
        add(
            .gauge, "kubenetmon_agent_unacknowledged_batches", "Batches not yet acknowledged.",
            export.unacknowledgedBatches)
        add(
            .gauge, "kubenetmon_agent_oldest_unacknowledged_age_seconds",
            "Time since the oldest unacknowledged counters were read; 0 if there are none.",
            export.oldestObservation.map { max(0, numbers.now.clampedSubtracting(.milliseconds($0)).seconds) } ?? 0)
        add(
            .counter, "kubenetmon_agent_unknown_acknowledgements_total",
            "Acknowledgements that match no unacknowledged batch.", export.unknownAcknowledgements)
        add(
            .counter, "kubenetmon_agent_doubtful_batches_total",
            "Batches sent to a server while another one, to which they were sent before, may still store them.",
            export.doubtfulBatches)
        add(
            .gauge, "kubenetmon_agent_granted_bytes",
            "Encoded bytes of batches that the connected server lets the agent have in flight; 0 without a limit.",
            export.grantedBytes ?? 0)
        add(
            .gauge, "kubenetmon_agent_server_connected", "1 if the agent is connected to a server, else 0.",
            export.isConnected)
        add(
            .gauge, "kubenetmon_agent_host_addresses",
            "Host addresses that the agent reports to servers; 0 if they are unknown.",
            export.hostAddresses ?? 0)
        add(
            .counter, "kubenetmon_agent_connections_total", "Connections opened to a server.",
            export.connections)
        add(
            .counter, "kubenetmon_agent_connection_failures_total",
            "Failed connection attempts and connections rejected by a server, by reason.", label: "reason",
            FlowExporter.connectionFailureReasons.map { ($0, export.connectionFailures[$0] ?? 0) })
        add(export.tls)
        add(
            .counter, "kubenetmon_agent_silent_connections_total",
            "Connections closed because a server that owed acknowledgements sent nothing for too long.",
            export.silentConnections)
    }

    private mutating func add(_ tls: TLSContextSource.Statistics?) {
        add(
            .gauge, "kubenetmon_agent_tls_certificate_not_after_timestamp_seconds",
            "Expiry of the client certificate, in seconds since the Unix epoch; 0 if there is none.",
            tls?.certificateNotAfter ?? 0)
        add(
            .counter, "kubenetmon_agent_tls_reload_failures_total",
            "Failed reloads of the TLS files; the previous files stay in use.", tls?.failures ?? 0)
    }

    private mutating func addKernel(_ numbers: AgentNumbers) {
        add(
            .counter, "kubenetmon_agent_event_overruns_total",
            "Times the kernel began to drop conntrack events because the receive buffer was full.",
            numbers.events.received.overruns)
        add(
            .counter, "kubenetmon_agent_events_total", "Conntrack events of ended connections.",
            numbers.events.received.events)
        for counter in numbers.counters { add(.counter, counter.name, counter.help, counter.value) }
        add(
            .counter, "kubenetmon_agent_refused_entries_total",
            "Conntrack entries that the kernel refused to read and zero; their counters stay in the kernel.",
            numbers.collection.refusedEntries)
        add(
            .gauge, "kubenetmon_agent_conntrack_entries", "Entries in the conntrack table.",
            numbers.entries ?? numbers.collection.tableEntries)
        add(
            .gauge, "kubenetmon_agent_conntrack_max", "Maximum number of entries in the conntrack table.",
            numbers.maximumEntries ?? 0)
        add(
            .gauge, "kubenetmon_agent_self_check", "1 if a condition for correct counts holds, else 0.", label: "check",
            numbers.conditions.map { ($0.name, numbers.problems[$0] == nil) })
    }
}

extension SummaryService.Numbers {
    /// Makes the numbers of the agent's summary, which is logged once a minute.
    package init(_ numbers: AgentNumbers) {
        let balance = numbers.export.balance
        self = [
            ("flows", .total(balance.allCollected.flows)),
            ("bytes", .total(balance.allCollected.bytes)),
            ("acknowledged_flows", .total(balance.acknowledged.flows)),
            ("acknowledged_bytes", .total(balance.acknowledged.bytes)),
            ("unacknowledged_flows", .present(Int(clamping: balance.unacknowledged.flows))),
            (
                "lost_flows",
                .total(
                    balance.allLost.flows &+ numbers.collection.lostAnswers &+ numbers.collection.malformedEntries
                        &+ numbers.events.received.malformedEvents &+ numbers.events.received.droppedEvents)
            ),
            ("lost_bytes", .total(balance.allLost.bytes &+ numbers.events.received.droppedBytesEstimate)),
            ("event_overruns", .total(numbers.events.received.overruns)),
            ("collections", .total(numbers.collection.collections)),
            (
                "collection_us",
                .mean(
                    sum: UInt64(clamping: numbers.collection.duration / .microseconds(1)),
                    of: numbers.collection.collections)
            ),
            ("conntrack_entries", .present(numbers.entries ?? numbers.collection.tableEntries)),
            ("servers", .present(numbers.export.isConnected ? 1 : 0)),
        ]
    }
}
