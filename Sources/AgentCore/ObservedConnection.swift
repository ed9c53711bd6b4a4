// SPDX-License-Identifier: Apache-2.0

package import FlowModel

/// A connection, and what it has carried between two readings of the table.
package struct ObservedConnection {
    /// The packets and bytes that a connection has carried between two readings.
    package struct Gain {
        /// Counters of the original direction.
        package var original: FlowCounters
        /// Counters of the reply direction.
        package var reply: FlowCounters

        /// Bytes of both directions.
        package var bytes: UInt64 { original.bytes &+ reply.bytes }
    }

    /// The connection at the second reading.
    package let flow: Flow
    /// Nil if the counters at the first reading are unknown.
    package let gain: Gain?
    /// Whether the counters were zeroed between the readings, so that the gain only includes what came afterwards.
    package let wasZeroed: Bool

    /// - Parameters:
    ///   - flow: The connection at the second reading.
    ///   - snapshot: The first reading. A connection that is not in it has begun since.
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

    /// Whether it comes before another connection: by the gain in bytes, then by all bytes, then by addresses and
    /// ports.
    func isBusier(than other: ObservedConnection) -> Bool { rank > other.rank }

    private var rank: (UInt64, UInt64, UInt128, UInt128, UInt16, UInt16) {
        (
            gain?.bytes ?? 0, flow.bytes, flow.original.source.bits, flow.original.destination.bits,
            flow.original.sourcePort, flow.original.destinationPort
        )
    }
}

extension FlowCounters {
    /// Returns the difference to earlier counters; nil if a counter is below its earlier value.
    fileprivate func subtracting(_ earlier: FlowCounters) -> FlowCounters? {
        guard packets >= earlier.packets, bytes >= earlier.bytes else { return nil }
        return FlowCounters(packets: packets - earlier.packets, bytes: bytes - earlier.bytes)
    }
}
