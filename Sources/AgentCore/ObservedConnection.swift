// SPDX-License-Identifier: Apache-2.0

package import FlowModel

/// A connection, and what it has carried lately.
package struct ObservedConnection {
    /// What it has carried between two looks.
    package struct Gain {
        /// What went in the original direction.
        package var original: FlowCounters
        /// What came back.
        package var reply: FlowCounters

        /// Bytes of both directions.
        package var bytes: UInt64 { original.bytes &+ reply.bytes }
    }

    /// The connection at the second look.
    package let flow: Flow
    /// Nil where what it had carried at the first is not known.
    package let gain: Gain?
    /// Whether its counters were zeroed between the looks, so that the gain is only what came after.
    package let wasZeroed: Bool

    /// - Parameters:
    ///   - flow: The connection at the second look.
    ///   - snapshot: The first look. A connection that is not there has begun since.
    package init(_ flow: Flow, since snapshot: CounterSnapshot) {
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
    package func isBusier(than other: ObservedConnection) -> Bool { rank > other.rank }

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
