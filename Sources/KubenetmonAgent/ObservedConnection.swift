// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// A connection, and what it has carried lately.
struct ObservedConnection {
    /// What it has carried between two looks.
    struct Gain {
        var original: FlowCounters
        var reply: FlowCounters

        var bytes: UInt64 { original.bytes &+ reply.bytes }
    }

    /// The connection at the second look.
    let flow: Flow
    /// Nil where nobody knows what it had carried at the first.
    let gain: Gain?
    /// Whether somebody has zeroed its counters between the looks, so that the gain is only what came after.
    let wasZeroed: Bool

    /// - Parameters:
    ///   - flow: The connection at the second look.
    ///   - snapshot: The first look. A connection that is not there has begun since.
    init(_ flow: Flow, since snapshot: CounterSnapshot) {
        self.flow = flow
        let all = Gain(original: flow.originalCounters, reply: flow.replyCounters)
        switch snapshot.find(flow) {
        case .unknown: (gain, wasZeroed) = (nil, false)
        case .absent: (gain, wasZeroed) = (all, false)
        case .counters(let original, let reply):
            if let rest = all.original.subtracting(original), let otherRest = all.reply.subtracting(reply) {
                (gain, wasZeroed) = (Gain(original: rest, reply: otherRest), false)
            } else {
                (gain, wasZeroed) = (all, true)
            }
        }
    }

    /// Whether it comes before another: by the bytes carried lately, then by all bytes, then by who is who.
    func isBusier(than other: ObservedConnection) -> Bool { rank > other.rank }

    private var rank: (UInt64, UInt64, UInt128, UInt128, UInt16, UInt16) {
        (
            gain?.bytes ?? 0, flow.bytes, flow.original.source.bits, flow.original.destination.bits,
            flow.original.sourcePort, flow.original.destinationPort
        )
    }
}

extension FlowCounters {
    /// What was added to earlier counters; nil where these are not above them.
    fileprivate func subtracting(_ earlier: FlowCounters) -> FlowCounters? {
        guard packets >= earlier.packets, bytes >= earlier.bytes else { return nil }
        return FlowCounters(packets: packets - earlier.packets, bytes: bytes - earlier.bytes)
    }
}
