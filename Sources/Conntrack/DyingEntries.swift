// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Keeps the packets of an entry from being reported twice when its request and its destruction meet.
///
/// `nf_ct_delete()` marks an entry as dying, writes its DESTROY event, which reads the counters and leaves them, and then
/// takes the entry out of the table (net/netfilter/nf_conntrack_core.c). A request finds the entry until that last step and
/// reads and zeroes the same counters (`ctnetlink_get_conntrack` in net/netfilter/nf_conntrack_netlink.c does not look at
/// the mark), so that both the answer and the event may carry them: both, one of the two, or some counters of each.
///
/// Of two answers to tell apart:
/// - **An answer that shows the entry dying.** The next event of that id is the entry's own, because the socket of events
///   was empty when the request was sent. A counter of the event that is at most the answer's was read before it was zeroed
///   and is dropped; a larger one counts packets that came after.
/// - **An answer that does not.** The kernel writes the status into the answer before it reads the counters, and the mark
///   may be set in between. Then the event arrives at once and repeats the answer to the byte, in both directions or in
///   one, and is dropped. Later events, and events with other counts, are what came after the answer.
///
/// Every event must be shown, one without counts too: it is the one that its entry's answer waits for.
struct DyingEntries {
    /// How long an event is waited for. Entries without an event extension send none.
    static let lifetime: Duration = .seconds(1)
    /// How long after an answer the event may be read that was written while it was made: the event thread lets events
    /// gather for 20 ms, and a limit on CPU time holds it up for 100 ms.
    static let overlap: Duration = .milliseconds(250)
    /// The bound on entries waited for, 1 MB. More answers than that in a second are of a table that is being flushed.
    static let maximumCount = 1 << 14

    private struct Answer {
        let id: UInt32
        let original: FlowCounters
        let reply: FlowCounters
        let time: ContinuousClock.Instant

        init(_ id: UInt32, _ flow: Flow, _ time: ContinuousClock.Instant) {
            self.id = id
            (original, reply, self.time) = (flow.originalCounters, flow.replyCounters, time)
        }
    }

    private var dying: [UInt32: Answer] = [:]
    /// The answers of the last batch of requests that showed their entries alive: few, and most are never looked for.
    private var alive: [Answer] = []

    /// Forgets what is too old. Called before a batch of requests is sent, with the socket of events drained.
    mutating func beginBatch(at now: ContinuousClock.Instant) {
        alive.removeAll(keepingCapacity: true)
        if !dying.isEmpty { dying = dying.filter { now - $0.value.time < Self.lifetime } }
    }

    /// Remembers an answer, which is reported as it is.
    mutating func note(answer entry: ConntrackEntry, at now: ContinuousClock.Instant) {
        guard let id = entry.id else { return }
        if !entry.isDying {
            alive.append(Answer(id, entry.flow, now))
            // A successor of that id: the entry that was dying has ended without an event.
            if !dying.isEmpty { dying[id] = nil }
        } else if dying.count < Self.maximumCount {
            dying[id] = Answer(id, entry.flow, now)
        }
    }

    /// Returns what of an event no answer has reported.
    mutating func remainder(ofEvent entry: ConntrackEntry, at now: ContinuousClock.Instant) -> Flow {
        var flow = entry.flow
        guard let id = entry.id else { return flow }
        if let answer = dying.removeValue(forKey: id), now - answer.time < Self.lifetime {
            flow.originalCounters.drop(whatIsAtMost: answer.original)
            flow.replyCounters.drop(whatIsAtMost: answer.reply)
        } else if let last = alive.last, now - last.time < Self.overlap,
            let answer = alive.first(where: { $0.id == id })
        {
            alive.removeAll { $0.id == id }
            if flow.originalCounters.isRepeat(of: answer.original) && flow.replyCounters.isRepeat(of: answer.reply) {
                flow.originalCounters = FlowCounters()
                flow.replyCounters = FlowCounters()
            }
        }
        return flow
    }
}

extension FlowCounters {
    /// True where nothing is in these counters of an event that is not in those of the answer: they were read just before
    /// they were zeroed, or just after.
    fileprivate func isRepeat(of answer: FlowCounters) -> Bool { self == answer || isZero }

    fileprivate mutating func drop(whatIsAtMost answer: FlowCounters) {
        if packets <= answer.packets { packets = 0 }
        if bytes <= answer.bytes { bytes = 0 }
    }
}
