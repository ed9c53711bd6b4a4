// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import Labeling
import Synchronization

/// Labelled flows of one day, to be stored by a sink. Labels are kept once for each endpoint; flows refer to them.
public struct FlowBlock: Sendable {
    /// The number of flows of one batch; they are adjacent in the block.
    private struct Batch: Sendable {
        let identity: BatchIdentity
        let flows: Int
    }

    static let secondsPerDay: UInt32 = 86_400

    private static let lastNumber = Atomic<UInt64>(0)

    /// The number that identifies the block in this process; copies have the same.
    let number = FlowBlock.lastNumber.wrappingAdd(1, ordering: .relaxed).newValue
    /// The day of all rows in UTC, in days since the Unix epoch: a block never spans two partitions.
    public let day: UInt16
    /// When the block was begun.
    public let begun = ContinuousClock.now
    /// The deduplication token under which the block is announced to agents; nil if it is not.
    public var token: UInt128?
    /// When the block was last announced; nil if it is not.
    public var announced: ContinuousClock.Instant?
    /// The batches of agents that confirm no blocks, and resend batches without a question.
    public var unannounced: Set<BatchIdentity> = []
    /// Flows so far.
    public private(set) var flows = 0
    /// Rows so far.
    public private(set) var rows = 0
    /// Network bytes that the rows report.
    public private(set) var reportedBytes: UInt64 = 0

    /// The value of the column `environment`.
    public let environment: String
    /// The names of ``ConnectionFlags`` in the order of their bits.
    public let flagNames: [String]
    private(set) var memory: FlowBlockMemory
    /// The batches that the flows come from, in the flows' order; empty if ``endBatch(_:)`` was not called.
    private var batches: [Batch] = []
    /// The number of flows of all ``batches``.
    private var flowsOfBatches = 0

    /// Begins a block for the day of a moment.
    ///
    /// - Parameters:
    ///   - environment: The value of the column `environment`.
    ///   - flagNames: The names of ``ConnectionFlags`` in the order of their bits.
    ///   - second: The moment, in seconds since the Unix epoch.
    ///   - flows: The expected number of flows, for which memory is reserved; 0 for a block that stays small.
    public init(environment: String, flagNames: [String] = [], dayOf second: UInt32, flows: Int = 0) {
        self.environment = environment
        self.flagNames = flagNames
        day = Self.day(of: second)
        memory = flows > 0 ? .take(flows: flows) : FlowBlockMemory()
    }

    /// Returns the day of a moment, in days since the Unix epoch; `second` is in seconds since the Unix epoch.
    public static func day(of second: UInt32) -> UInt16 { UInt16(truncatingIfNeeded: second / secondsPerDay) }

    /// The block's memory, in bytes. Capacity that is only reserved for flows takes no memory. Labels do not count:
    /// they belong to the index and are shared.
    public var memoryBytes: Int { memory.bytes }

    /// Adds the flow's rows: one for the direction that the local side sent and one for the direction that it received;
    /// a direction with zero counters adds none.
    ///
    /// - Parameters:
    ///   - flow: A flow; between IPv6 addresses only if the sink has columns for them (``BlockForm/hasIPv6``).
    ///   - second: The time of observation, on the block's day, in seconds since the Unix epoch.
    public mutating func append(_ flow: LabeledFlow, observedAt second: UInt32) {
        precondition(Self.day(of: second) == day, "a block never spans two days")
        let (sent, received) = (flow.sent, flow.received)
        let added = (sent.isZero ? 0 : 1) + (received.isZero ? 0 : 1)
        guard added > 0 else { return }
        flows += 1
        rows += added
        reportedBytes &+= sent.bytes &+ received.bytes
        let record = FlowRecord(
            minute: UInt16(truncatingIfNeeded: second % Self.secondsPerDay / FlowInterval.seconds),
            transport: flow.transport.rawValue, connectionClass: flow.connectionClass.columnIndex,
            isOpenedByRemote: !flow.isOpenedByLocal, local: endpoint(flow.local), remote: endpoint(flow.remote),
            service: flow.service.map { memory.number(of: $0) } ?? 0, flags: flow.flags.rawValue, zone: flow.zone,
            sent: sent, received: received)
        memory.records.append(record)
    }

    /// Ends a batch: it consists of the flows appended since the previous batch ended. All of its flows are in this
    /// block.
    package mutating func endBatch(_ identity: BatchIdentity) {
        guard flows > flowsOfBatches else { return }
        batches.append(Batch(identity: identity, flows: flows - flowsOfBatches))
        flowsOfBatches = flows
    }

    /// The batches whose flows are in the block.
    public var batchIdentities: Set<BatchIdentity> { Set(batches.lazy.map(\.identity)) }

    /// Removes the flows of batches, and returns those batches that were in the block. Must be called before flows are
    /// merged.
    mutating func withdraw(_ identities: Set<BatchIdentity>) -> Set<BatchIdentity> {
        let withdrawn = identities.intersection(batches.lazy.map(\.identity))
        guard !withdrawn.isEmpty else { return [] }
        var (kept, next): ([FlowRecord], Int) = ([], 0)
        kept.reserveCapacity(memory.records.count)
        for batch in batches {
            let records = memory.records[next..<next + batch.flows]
            next += batch.flows
            if !withdrawn.contains(batch.identity) {
                kept += records
                continue
            }
            for record in records {
                flows -= 1
                rows -= (record.isSent ? 1 : 0) + (record.isReceived ? 1 : 0)
                reportedBytes &-= record.sentBytes &+ record.receivedBytes
            }
        }
        kept += memory.records[next...]
        memory.records = kept
        batches.removeAll { withdrawn.contains($0.identity) }
        flowsOfBatches = batches.reduce(0) { $0 + $1.flows }
        return withdrawn
    }

    /// The labels that ``FlowRows`` refer to by index.
    public var endpoints: [EndpointLabels] { memory.endpoints }

    /// Merges flows that differ only in their counters, such as two observations of a connection in one minute. The
    /// table would sum their rows later, at a hundred times the cost.
    ///
    /// - Parameters:
    ///   - merge: The merge, with the memory of earlier ones.
    ///   - form: The columns that are stored: without ``FlowColumn/opened`` or ``FlowColumn/conntrackZone``, flows that
    ///     differ in it alone are merged too.
    public mutating func mergeFlows(with merge: inout FlowMerge, for form: BlockForm) {
        if !form.columns.contains(.opened) {
            for index in memory.records.indices { memory.records[index].removeOpener() }
        }
        if !form.columns.contains(.conntrackZone) {
            for index in memory.records.indices { memory.records[index].removeZone() }
        }
        merge.merge(&memory.records, ipv6Addresses: memory.ipv6Addresses)
    }

    /// Ends the block and gives its memory back for another block.
    public mutating func recycle() {
        let memory = memory
        self.memory = FlowBlockMemory()
        (batches, flowsOfBatches) = ([], 0)
        memory.giveBack()
    }

    /// Frees the memory that is kept for later blocks.
    public static func releaseSpareMemory() { FlowBlockMemory.forgetSpares() }

    private mutating func endpoint(_ end: LabeledEndpoint) -> FlowRecord.Endpoint {
        let labels = memory.number(of: end.labels)
        if let v4 = end.address.v4 {
            return FlowRecord.Endpoint(labels: labels, address: v4, port: end.port, isIPv6: false)
        }
        memory.ipv6Addresses.append(end.address.bits)
        return FlowRecord.Endpoint(
            labels: labels, address: UInt32(memory.ipv6Addresses.count - 1), port: end.port, isIPv6: true)
    }
}

extension ConnectionClass {
    /// Its index among all classes.
    fileprivate var columnIndex: UInt8 {
        switch self {
        case .unknown: 0
        case .intraVPC: 1
        case .intraRegion: 2
        case .interRegion: 3
        case .publicInternet: 4
        }
    }
}
