// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A batch that has been taken out of the kernel and must reach ClickHouse.
public struct ExportBatch: Sendable {
    /// Its number in this agent process.
    public let sequence: UInt64
    /// When its counters were read, in milliseconds since the Unix epoch.
    public let observedAtMilliseconds: UInt64
    /// Its bytes on the wire, the frame's length included. They do not change once they have been sent: a resend is
    /// recognisable.
    public let frame: ByteBuffer
    /// Flows in it.
    public let flows: Int
    /// Network bytes that those flows report.
    public let reportedBytes: UInt64

    /// Makes a batch of its parts.
    public init(
        sequence: UInt64, observedAtMilliseconds: UInt64, frame: ByteBuffer, flows: Int, reportedBytes: UInt64
    ) {
        self.sequence = sequence
        self.observedAtMilliseconds = observedAtMilliseconds
        self.frame = frame
        self.flows = flows
        self.reportedBytes = reportedBytes
    }

    /// The minute of the observation since the Unix epoch: the resolution of the table.
    var minute: UInt64 { observedAtMilliseconds / 60_000 }
}
