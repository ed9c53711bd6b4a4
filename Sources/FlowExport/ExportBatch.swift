// SPDX-License-Identifier: Apache-2.0

import FlowModel
import NIOCore

/// A batch of flows that the kernel no longer holds and that must reach ClickHouse.
struct ExportBatch: Equatable, Sendable {
    /// The batch's number in its agent process.
    let sequence: UInt64
    /// The time at which the counters were read, in milliseconds since the Unix epoch.
    let observedAtMilliseconds: UInt64
    /// The batch's bytes on the wire, length field included. They do not change once they have been sent, so that a
    /// server recognises a resend.
    let frame: ByteBuffer
    /// The flows and the network bytes that they report.
    let amount: FlowAmount
    /// ``ClockReading/wallLead`` when the counters were read; nil for a batch of an earlier agent process.
    var wallLead: Int64?

    /// Makes a batch from its parts.
    init(sequence: UInt64, observedAtMilliseconds: UInt64, frame: ByteBuffer, amount: FlowAmount) {
        self.sequence = sequence
        self.observedAtMilliseconds = observedAtMilliseconds
        self.frame = frame
        self.amount = amount
    }

    /// The observation time in minutes since the Unix epoch; a minute is the table's resolution.
    var minute: UInt64 { observedAtMilliseconds / FlowInterval.milliseconds }
}
