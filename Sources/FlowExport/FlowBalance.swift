// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// The flows that an exporter has taken over, by what became of them.
///
/// Flows enter by ``collect(_:of:in:)`` or ``restore(_:)``, wait in ``queued`` and ``kept``, and leave by
/// ``acknowledge(_:)``. Every change moves an amount from one place to another, so ``isBalanced`` is true at any moment
/// unless batches and their contents differ.
public struct FlowBalance: Equatable, Sendable {
    /// The flows put into batches, by source.
    public internal(set) var collected: [FlowSource: FlowAmount] = [:]
    /// The flows that earlier agent processes left in the spool directory.
    public internal(set) var restored = FlowAmount()
    /// The flows acknowledged to be in ClickHouse.
    public internal(set) var acknowledged = FlowAmount()
    /// The number of flow entries that merging has added to another entry of the same flow and minute.
    public internal(set) var mergedFlows: UInt64 = 0
    /// The flows that were lost, by reason. They were never part of the amounts above.
    public internal(set) var lost: [FlowLoss: FlowAmount] = [:]

    /// The flows in batches on their way to the event loop.
    var queued = FlowAmount()
    /// The flows in unacknowledged batches on the event loop.
    var kept = FlowAmount()

    /// Makes the balance of an exporter without flows.
    public init() {}

    /// The unacknowledged flows.
    public var unacknowledged: FlowAmount { queued + kept }

    /// The flows put into batches, from all sources.
    public var allCollected: FlowAmount { collected.values.reduce(FlowAmount(), +) }

    /// The lost flows, for all reasons.
    public var allLost: FlowAmount { lost.values.reduce(FlowAmount(), +) }

    /// Whether the amounts that entered equal those that wait and those that have left.
    var isBalanced: Bool {
        let entered = restored + allCollected
        return entered == acknowledged + unacknowledged + FlowAmount(flows: mergedFlows, bytes: 0)
    }

    /// Books a batch for the event loop.
    ///
    /// - Parameters:
    ///   - flows: The flows put into the batch, counted apart from it.
    ///   - source: The source of the flows.
    ///   - batch: The amount that the batch itself reports.
    mutating func collect(_ flows: FlowAmount, of source: FlowSource, in batch: FlowAmount) {
        collected[source, default: FlowAmount()] += flows
        queued += batch
    }

    /// Books the arrival of a batch on the event loop.
    mutating func keep(_ batch: FlowAmount) {
        queued -= batch
        kept += batch
    }

    /// Books batches of an earlier agent process.
    mutating func restore(_ batches: FlowAmount) {
        restored += batches
        kept += batches
    }

    /// Books entries of kept batches that merging has added to others, whose bytes they leave there.
    mutating func merge(_ flows: UInt64) {
        kept.flows &-= flows
        mergedFlows &+= flows
    }

    /// Books acknowledged batches.
    mutating func acknowledge(_ batches: FlowAmount) {
        kept -= batches
        acknowledged += batches
    }

    /// Books flows that could not be taken over.
    mutating func lose(_ flows: FlowAmount, to reason: FlowLoss) { lost[reason, default: FlowAmount()] += flows }
}

/// The reasons for which flows are lost.
public enum FlowLoss: CaseIterable, Sendable {
    /// The flows of ended connections did not fit below the limit on unacknowledged batches.
    case noRoom
    /// Batches of an earlier agent process did not fit below the limit.
    case noRoomToRestore
    /// Batches of an earlier agent process were corrupt; the amount is counted as far as it is known.
    case corruption
}
