// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Decides which of the kernel's counters are reported, so that every packet is reported once: by the response to its
/// entry's request or by its entry's DESTROY event, and for only one of the zones that its connection passes.
struct ConnectionLedger {
    private var dying = DyingEntries()
    private(set) var zones = ZoneLedger()
    private(set) var resets = ResetWatch()
    private var now = ContinuousClock.now
    private let start = ContinuousClock.now

    private var second: UInt32 { UInt32(truncatingIfNeeded: (now - start).components.seconds) }

    /// Starts a collection.
    mutating func beginCollection() {
        now = .now
        zones.beginRound(second: second)
    }

    /// Records an entry that a dump shows; see ``ZoneLedger/notice(_:)``.
    mutating func notice(_ entry: ConntrackEntry) -> ZoneLedger.Reading { zones.notice(entry) }

    /// Sets the time for the events and responses that follow.
    mutating func readClock() { now = .now }

    /// Prepares for a batch of requests. All events that have arrived by then must have been handled.
    mutating func beginBatch() {
        now = .now
        dying.beginBatch(at: now)
    }

    /// Returns what to report of an entry that was read and zeroed.
    mutating func report(answer entry: ConntrackEntry) -> Flow {
        resets.compare(entry)
        dying.note(answer: entry, at: now)
        return zones.report(entry, second: second)
    }

    /// Returns what to report of an entry that a zeroing dump has read (``ConntrackTable/Mode/fast``). Such dumps are
    /// not ordered against events.
    mutating func report(dumped entry: ConntrackEntry) -> Flow { zones.report(entry, second: second) }

    /// Returns the part of a destroyed entry that has not been reported yet. An entry that does not pass the filter is
    /// not recorded as reported.
    mutating func report(event entry: ConntrackEntry, where filter: FlowFilter) -> Flow {
        resets.forget(entry)
        var rest = entry
        rest.flow = dying.remainder(ofEvent: entry, at: now)
        guard filter.reasonToIgnore(rest.flow, in: entry.zone) == nil else { return rest.flow }
        return zones.report(rest, second: second)
    }

    /// Remembers an entry's counters, which were read between two collections without zeroing them.
    mutating func sample(_ entry: ConntrackEntry) { resets.sample(entry) }

    /// Forgets all samples.
    mutating func endCollection() { resets.forgetSamples() }
}
