// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Prevents an entry's packets from being reported twice if the entry is destroyed while its request is handled.
///
/// `nf_ct_delete()` marks an entry as dying, writes its DESTROY event, which reads the counters without zeroing them,
/// and then removes the entry from the table (net/netfilter/nf_conntrack_core.c). Until that last step, a request still
/// finds the entry, and reads and zeroes the same counters (`ctnetlink_get_conntrack` in
/// net/netfilter/nf_conntrack_netlink.c does not check the mark). Each counter may therefore be in the response, in the
/// event, or in both.
///
/// Two kinds of response are told apart:
/// - **A response that shows the entry as dying.** The next event with its id belongs to the entry, because the event
///   socket was empty when the request was sent. A counter of the event that is at most the response's was read before
///   it was zeroed and is dropped; a larger one counts packets that came after the response.
/// - **A response that shows the entry as alive.** The kernel writes the status into the response before it reads the
///   counters, and the mark may be set in between. The event then arrives at once and repeats the response to the byte,
///   in both directions or in one, and is dropped. Later events, and events with other counts, contain what came after
///   the response.
///
/// Every event must be passed to ``remainder(ofEvent:at:)``, even one without counts, because it may be the one that
/// its entry's response waits for.
struct DyingEntries {
    /// How long a response waits for its entry's event. Entries without an event extension send none.
    static let lifetime: Duration = .seconds(1)
    /// The longest time between a response and the reading of an event that was written along with it: the event thread
    /// lets events gather for 20 ms, and a limit on CPU time can delay it by 100 ms.
    static let overlap: Duration = .milliseconds(250)
    /// The limit on responses that wait for an event, 1 MB. More of them within a second mean that the table is being
    /// flushed.
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
    /// The responses in the last batch of requests that showed live entries: they are few, and most are never looked
    /// up.
    private var alive: [Answer] = []

    /// Forgets expired responses. Called before a batch of requests is sent, after the event socket has been drained.
    mutating func beginBatch(at now: ContinuousClock.Instant) {
        alive.removeAll(keepingCapacity: true)
        if !dying.isEmpty { dying = dying.filter { now - $0.value.time < Self.lifetime } }
    }

    /// Remembers a response, which is itself reported in full.
    mutating func note(answer entry: ConntrackEntry, at now: ContinuousClock.Instant) {
        guard let id = entry.id else { return }
        if !entry.isDying {
            alive.append(Answer(id, entry.flow, now))
            // The id belongs to a successor: the dying entry ended without an event.
            if !dying.isEmpty { dying[id] = nil }
        } else if dying.count < Self.maximumCount {
            dying[id] = Answer(id, entry.flow, now)
        }
    }

    /// Returns the part of an event that no response has reported.
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
    /// Returns whether these counters of an event contain nothing beyond the response's: they were read just before the
    /// response zeroed them, or just after.
    fileprivate func isRepeat(of answer: FlowCounters) -> Bool { self == answer || isZero }

    fileprivate mutating func drop(whatIsAtMost answer: FlowCounters) {
        if packets <= answer.packets { packets = 0 }
        if bytes <= answer.bytes { bytes = 0 }
    }
}
