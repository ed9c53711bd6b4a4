// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import FlowWire

/// Gathers flows of one source into batches for an exporter: a batch ends when it is full, when its minute ends, or when
/// it is flushed. Not thread-safe; each source has its own.
public struct FlowBatcher: ~Copyable {
    /// The flows of one address family, gathered for the next batch.
    private struct Gathering: ~Copyable {
        var builder: FlowBatchBuilder
        /// The amount added, counted apart from the builder for the ``FlowBalance``.
        var collected = FlowAmount()

        init(_ family: FlowBatchBuilder.Family) { builder = FlowBatchBuilder(family: family) }

        mutating func append(_ flow: Flow) {
            builder.append(flow)
            collected.add(flow)
        }
    }

    private let exporter: FlowExporter
    private let source: FlowSource
    private var ipv4 = Gathering(.ipv4)
    private var ipv6 = Gathering(.ipv6)
    private var observedAtMilliseconds: UInt64 = 0

    /// Makes an empty batcher.
    public init(exporter: FlowExporter, source: FlowSource) {
        self.exporter = exporter
        self.source = source
    }

    /// Adds a flow. `moment` is the time at which its counters were read, in milliseconds since the Unix epoch.
    public mutating func append(_ flow: Flow, observedAtMilliseconds moment: UInt64) {
        let interval = FlowInterval.milliseconds
        if moment / interval != observedAtMilliseconds / interval { flush() }
        if ipv4.builder.count == 0 && ipv6.builder.count == 0 { observedAtMilliseconds = moment }
        if flow.isIPv4 {
            ipv4.append(flow)
            if ipv4.builder.isFull { Self.export(&ipv4, of: source, observedAtMilliseconds, to: exporter) }
        } else {
            ipv6.append(flow)
            if ipv6.builder.isFull { Self.export(&ipv6, of: source, observedAtMilliseconds, to: exporter) }
        }
    }

    /// Exports the gathered flows.
    public mutating func flush() {
        if ipv4.builder.count > 0 { Self.export(&ipv4, of: source, observedAtMilliseconds, to: exporter) }
        if ipv6.builder.count > 0 { Self.export(&ipv6, of: source, observedAtMilliseconds, to: exporter) }
    }

    private static func export(
        _ gathering: inout Gathering, of source: FlowSource, _ observedAt: UInt64, to exporter: FlowExporter
    ) {
        exporter.export(gathering.collected, of: source) {
            gathering.builder.takeBatch(sequence: $0, observedAtMilliseconds: observedAt)
        }
        gathering.collected = FlowAmount()
    }
}

extension FlowBatchBuilder {
    /// Returns the gathered flows as a batch and starts an empty one.
    mutating func takeBatch(sequence: UInt64, observedAtMilliseconds: UInt64) -> ExportBatch {
        let amount = FlowAmount(flows: UInt64(count), bytes: reportedBytes)
        return ExportBatch(
            sequence: sequence, observedAtMilliseconds: observedAtMilliseconds,
            frame: takeFrame(sequence: sequence, observedAtMilliseconds: observedAtMilliseconds), amount: amount)
    }
}
