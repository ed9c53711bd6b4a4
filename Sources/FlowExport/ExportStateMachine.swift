// SPDX-License-Identifier: Apache-2.0

import DequeModule
import FlowWire
import NIOCore
import Retry

/// Which batches a server still owes an acknowledgement for, and what to do next about it.
///
/// A batch is kept from ``enqueue(_:)`` until it is acknowledged. It is sent once on every connection that lives while
/// it is kept. The machine does no I/O: every event returns what the caller must do.
///
/// Batches that an earlier agent process left (``restore(_:)``) keep its id, their numbers and their bytes, so that a
/// server that has had them recognises them. A connection speaks for one process: the earlier ones' batches go first, each
/// process's on a connection of its own.
struct ExportStateMachine {
    /// What the caller must do.
    enum Action: Equatable {
        case nothing
        /// Ask ``attemptIsDue()`` after this time, and not at the time that was said before, whether to open a
        /// connection.
        case connect(after: Duration)
        /// Send these frames in this order.
        case send([ByteBuffer])
        /// Close the connection; ``connectionClosed()`` follows.
        case close
    }

    /// What an acknowledgement settled.
    struct Acknowledged: Equatable {
        /// The batches' sequence numbers.
        var sequences: [UInt64] = []
        var flows = 0
        var reportedBytes: UInt64 = 0
        /// Sequence numbers that are not kept: acknowledged twice, or never sent.
        var unknown = 0
    }

    private enum State {
        /// Before ``start()``.
        case idle
        /// The next attempt to connect is due after a while.
        case waiting
        /// A connection is being opened.
        case connecting
        case connected
        /// The server wants the connection closed: nothing new is sent on it, what is in flight may still be answered.
        case draining
        /// After ``stop()``.
        case stopped
    }

    private struct Kept {
        /// The agent process that numbered it.
        let agentID: AgentID
        let batch: ExportBatch
        /// Whether it was sent on the connection that is open.
        var isInFlight: Bool
        /// Whether it was ever sent, or may have been. Its number and content are fixed from then on.
        var wasSent: Bool
        /// Whether it is what merging has made of its minute.
        var isMerged = false
    }

    private let agentID: AgentID
    private var state = State.idle
    private var backoff: Backoff
    private let mergeAboveBytes: Int
    /// Bytes of frames above which it is worth to merge again: a minute's flows are gone through each time.
    private var mergeAgainAboveBytes: Int
    /// Those of earlier processes first; each process's in ascending order of their sequence numbers.
    private var kept: Deque<Kept> = []

    /// The agent process that the open connection speaks for, or the last one spoke for.
    private(set) var connectedAs: AgentID

    /// Bytes of the frames that are kept.
    private(set) var keptFrameBytes = 0
    /// What those batches hold.
    private(set) var keptAmount = FlowAmount()
    /// What has been acknowledged.
    private(set) var acknowledgedAmount = FlowAmount()
    /// What earlier agent processes had left.
    private(set) var restoredAmount = FlowAmount()
    /// The number of batches that earlier agent processes had left.
    private(set) var restoredBatches = 0
    /// Flows that became one with others when batches were merged.
    private(set) var mergedFlows: UInt64 = 0
    /// How often batches that are kept have been replaced by their sums.
    private(set) var merges = 0

    /// - Parameters:
    ///   - agentID: This agent process.
    ///   - backoff: The wait between attempts to connect.
    ///   - mergeAboveBytes: Bytes of frames above which batches that were never sent are merged, those of a minute into
    ///     one.
    init(agentID: AgentID, backoff: Backoff, mergeAboveBytes: Int) {
        self.agentID = agentID
        connectedAs = agentID
        self.backoff = backoff
        self.mergeAboveBytes = mergeAboveBytes
        mergeAgainAboveBytes = mergeAboveBytes
    }

    /// Whether nothing waits for an acknowledgement.
    var isEmpty: Bool { kept.isEmpty }

    /// Batches that wait for an acknowledgement.
    var keptBatches: Int { kept.count }

    /// The agent process that the next connection speaks for.
    var nextAgentID: AgentID { kept.first?.agentID ?? agentID }

    /// The batch that has waited for longest.
    var oldest: BatchKey? { kept.first.map { BatchKey(agentID: $0.agentID, sequence: $0.batch.sequence) } }

    /// Everything that waits for an acknowledgement.
    var spooledBatches: [SpooledBatch] { kept.map { SpooledBatch(agentID: $0.agentID, batch: $0.batch) } }

    /// When the counters of the batch were read that has waited for longest, in milliseconds since the Unix epoch.
    var oldestObservation: UInt64? { kept.first?.batch.observedAtMilliseconds }

    /// Whether something was sent on the open connection and is not acknowledged.
    var awaitsAnswer: Bool { kept.contains(where: \.isInFlight) }

    /// Flows that wait for an acknowledgement, and the network bytes that they report.
    var unacknowledged: (flows: Int, reportedBytes: UInt64) {
        kept.reduce(into: (0, 0)) { total, entry in
            total.0 += entry.batch.flows
            total.1 += entry.batch.reportedBytes
        }
    }

    mutating func start() -> Action {
        state = .waiting
        return .connect(after: .zero)
    }

    /// The time until the next attempt is over; false where no attempt is wanted any longer.
    mutating func attemptIsDue() -> Bool {
        guard state == .waiting else { return false }
        state = .connecting
        return true
    }

    /// Little time is left: the next attempt is due at once, and none after it waits long. A server that wants the
    /// connection closed is left with what it holds, which another then gets too: it takes nothing new.
    mutating func hurry() -> Action {
        backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(1))
        switch state {
        case .waiting where !kept.isEmpty: return .connect(after: .zero)
        case .draining: return .close
        case .idle, .waiting, .connecting, .connected, .stopped: return .nothing
        }
    }

    /// Keeps a batch, whose sequence number must be higher than all before it.
    mutating func enqueue(_ batch: ExportBatch) -> Action {
        precondition(
            kept.last.map { $0.agentID != agentID || $0.batch.sequence < batch.sequence } ?? true,
            "sequence numbers must ascend")
        let isSent = state == .connected && connectedAs == agentID
        kept.append(Kept(agentID: agentID, batch: batch, isInFlight: isSent, wasSent: isSent))
        keptFrameBytes += batch.frame.readableBytes
        keptAmount += FlowAmount(batch)
        if isSent { return .send([batch.frame]) }
        if keptFrameBytes > mergeAgainAboveBytes { mergeNeverSent() }
        return .nothing
    }

    /// Keeps what earlier agent processes had left, before everything else. Some of it may have been sent by them: which,
    /// nobody knows.
    ///
    /// - Parameter batches: Grouped by process, each process's in ascending order of their sequence numbers.
    mutating func restore(_ batches: [SpooledBatch]) -> Action {
        guard !batches.isEmpty else { return .nothing }
        let restored = batches.map { Kept(agentID: $0.agentID, batch: $0.batch, isInFlight: false, wasSent: true) }
        let amount = batches.reduce(into: FlowAmount()) { $0 += FlowAmount($1.batch) }
        kept.insert(contentsOf: restored, at: kept.startIndex)
        keptFrameBytes += batches.reduce(0) { $0 + $1.batch.frame.readableBytes }
        keptAmount += amount
        restoredAmount += amount
        restoredBatches += batches.count
        mergeAgainAboveBytes = max(mergeAgainAboveBytes, mergeThreshold)
        // What is new would go first on this connection: it is left once it has been acknowledged what it was sent.
        if state == .connected { state = .draining }
        return isDrained ? .close : .nothing
    }

    /// Adds up what was never sent, minute by minute. Batches that were sent all precede those that never were.
    private mutating func mergeNeverSent() {
        let firstNeverSent = kept.firstIndex { !$0.wasSent } ?? kept.endIndex
        var rest = kept[firstNeverSent...]
        var merged: [Kept] = []
        while let minute = rest.first?.batch.minute {
            let group = rest.prefix { $0.batch.minute == minute }
            rest = rest.dropFirst(group.count)
            if group.allSatisfy(\.isMerged) {
                merged += group
            } else {
                merged += ExportBatch.merged(group.map(\.batch))
                    .map { Kept(agentID: agentID, batch: $0, isInFlight: false, wasSent: false, isMerged: true) }
            }
        }
        kept.replaceSubrange(firstNeverSent..., with: merged)
        keptFrameBytes = kept.reduce(0) { $0 + $1.batch.frame.readableBytes }
        let flows = keptAmount.flows
        keptAmount = kept.reduce(into: FlowAmount()) { $0 += FlowAmount($1.batch) }
        mergedFlows += flows - keptAmount.flows
        merges += 1
        mergeAgainAboveBytes = mergeThreshold
    }

    private var mergeThreshold: Int { max(mergeAboveBytes, keptFrameBytes + mergeAboveBytes / 8) }

    /// A connection is open and the greeting of ``nextAgentID`` is on its way: everything that is kept of that process
    /// follows.
    mutating func connectionOpened() -> Action {
        guard state == .connecting else { return .close }
        state = .connected
        connectedAs = nextAgentID
        var frames: [ByteBuffer] = []
        for index in kept.indices where kept[index].agentID == connectedAs {
            kept[index].isInFlight = true
            kept[index].wasSent = true
            frames.append(kept[index].batch.frame)
        }
        return frames.isEmpty ? .nothing : .send(frames)
    }

    /// A connection could not be opened.
    mutating func connectionFailed() -> Action { connectAgain() }

    /// The connection is gone, whoever ended it.
    mutating func connectionClosed() -> Action {
        for index in kept.indices { kept[index].isInFlight = false }
        return connectAgain()
    }

    private mutating func connectAgain() -> Action {
        guard state != .stopped else { return .nothing }
        state = .waiting
        return .connect(after: backoff.next())
    }

    /// The server has these batches in ClickHouse.
    mutating func acknowledged(_ sequences: [UInt64]) -> (Acknowledged, Action) {
        var result = Acknowledged()
        for sequence in sequences {
            guard
                let index = kept.firstIndex(where: { $0.agentID == connectedAs && $0.batch.sequence >= sequence }),
                kept[index].batch.sequence == sequence, kept[index].wasSent
            else {
                result.unknown += 1
                continue
            }
            let batch = kept.remove(at: index).batch
            keptFrameBytes -= batch.frame.readableBytes
            keptAmount -= FlowAmount(batch)
            acknowledgedAmount += FlowAmount(batch)
            result.sequences.append(sequence)
            result.flows += batch.flows
            result.reportedBytes &+= batch.reportedBytes
        }
        mergeAgainAboveBytes = min(mergeAgainAboveBytes, mergeThreshold)
        // A server that acknowledges is a server that works; one that merely accepts connections may not be.
        if !result.sequences.isEmpty { backoff.reset() }
        return (result, isDrained ? .close : .nothing)
    }

    /// The server asks the agent to go elsewhere.
    ///
    /// - Parameter afterLongConnection: Whether the connection has lived for so long that the next may be opened soon,
    ///   whatever was acknowledged on it.
    mutating func goAway(afterLongConnection: Bool = false) -> Action {
        guard state == .connected else { return .nothing }
        state = .draining
        if afterLongConnection { backoff.reset() }
        return isDrained ? .close : .nothing
    }

    /// Whether the open connection has nothing more to do: the server wants it closed, or the next is another process's.
    private var isDrained: Bool {
        (state == .draining || state == .connected && connectedAs != agentID) && !awaitsAnswer
    }

    /// No further connection shall be opened.
    mutating func stop() -> Action {
        let wasOpen = state == .connected || state == .draining
        state = .stopped
        return wasOpen ? .close : .nothing
    }
}
