// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Conntrack

/// Creates an entry of one connection with these counters.
private func entry(
    _ id: UInt32?, _ original: (UInt64, UInt64), _ reply: (UInt64, UInt64), isDying: Bool = false
) -> ConntrackEntry {
    let tuple = FlowTuple(
        source: address("192.0.2.10"), destination: address("198.51.100.10"), sourcePort: 40_000,
        destinationPort: 443)
    let flow = Flow(
        transport: .tcp, original: tuple, reply: tuple.mirrored,
        originalCounters: FlowCounters(packets: original.0, bytes: original.1),
        replyCounters: FlowCounters(packets: reply.0, bytes: reply.1))
    return ConntrackEntry(flow: flow, id: id, isDying: isDying)
}

@Suite struct DyingEntriesTests {
    private let start = ContinuousClock.now

    /// Returns what remains of an event after a response to the same entry's request: packets and bytes of each
    /// direction.
    private func rest(
        _ answer: ConntrackEntry, _ event: ConntrackEntry, after delay: Duration = .zero
    ) -> [UInt64] {
        var entries = DyingEntries()
        entries.beginBatch(at: start)
        entries.note(answer: answer, at: start)
        let flow = entries.remainder(ofEvent: event, at: start + delay)
        return [
            flow.originalCounters.packets, flow.originalCounters.bytes, flow.replyCounters.packets,
            flow.replyCounters.bytes,
        ]
    }

    @Test("counts that the response of a dying entry reported are dropped from its event")
    func dyingEntry() {
        let answer = entry(7, (5, 272), (9, 8_000), isDying: true)
        // The event was written before the counters were zeroed, after it, or between the two directions.
        #expect(rest(answer, entry(7, (5, 272), (9, 8_000))) == [0, 0, 0, 0])
        #expect(rest(answer, entry(7, (5, 272), (0, 0))) == [0, 0, 0, 0])
        #expect(rest(answer, entry(7, (0, 0), (9, 8_000))) == [0, 0, 0, 0])
        #expect(rest(answer, entry(7, (0, 0), (0, 0))) == [0, 0, 0, 0])
        // A counter larger than the response's is a new count.
        #expect(rest(answer, entry(7, (6, 324), (0, 0))) == [6, 324, 0, 0])
    }

    @Test("only the next event with the entry's id within a second is matched to the response")
    func whichEvent() {
        let answer = entry(7, (5, 272), (9, 8_000), isDying: true)
        let event = entry(7, (5, 272), (9, 8_000))
        #expect(rest(answer, entry(8, (5, 272), (9, 8_000))) == [5, 272, 9, 8_000])
        #expect(rest(answer, entry(nil, (5, 272), (9, 8_000))) == [5, 272, 9, 8_000])
        #expect(rest(answer, event, after: .milliseconds(999)) == [0, 0, 0, 0])
        #expect(rest(answer, event, after: .seconds(1)) == [5, 272, 9, 8_000])
        var entries = DyingEntries()
        entries.beginBatch(at: start)
        entries.note(answer: answer, at: start)
        #expect(entries.remainder(ofEvent: entry(7, (0, 0), (0, 0)), at: start).bytes == 0)
        #expect(entries.remainder(ofEvent: event, at: start).bytes == 8_272)
        // A batch in between forgets only expired responses.
        entries.note(answer: answer, at: start)
        entries.beginBatch(at: start + .milliseconds(500))
        #expect(entries.remainder(ofEvent: event, at: start + .milliseconds(600)).bytes == 0)
        entries.note(answer: answer, at: start)
        entries.beginBatch(at: start + .seconds(2))
        #expect(entries.remainder(ofEvent: event, at: start).bytes == 8_272)
    }

    @Test("an event that repeats the response of a living entry to the byte is dropped")
    func livingEntry() {
        let answer = entry(7, (5, 272), (9, 8_000))
        #expect(rest(answer, entry(7, (5, 272), (9, 8_000))) == [0, 0, 0, 0])
        #expect(rest(answer, entry(7, (5, 272), (0, 0))) == [0, 0, 0, 0])
        #expect(rest(answer, entry(7, (0, 0), (9, 8_000))) == [0, 0, 0, 0])
        // Packets that came after the response.
        #expect(rest(answer, entry(7, (1, 52), (1, 52))) == [1, 52, 1, 52])
        #expect(rest(answer, entry(7, (5, 272), (8, 7_948))) == [5, 272, 8, 7_948])
        #expect(rest(answer, entry(7, (5, 272), (9, 8_000)), after: .milliseconds(250)) == [5, 272, 9, 8_000])
    }

    @Test("an event without counts uses up the response, and the next entry with the id is reported whole")
    func successor() {
        var entries = DyingEntries()
        entries.beginBatch(at: start)
        entries.note(answer: entry(7, (5, 272), (9, 8_000)), at: start)
        #expect(entries.remainder(ofEvent: entry(7, (0, 0), (0, 0)), at: start).bytes == 0)
        #expect(entries.remainder(ofEvent: entry(7, (5, 272), (9, 8_000)), at: start).bytes == 8_272)
    }
}
