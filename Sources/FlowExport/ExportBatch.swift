// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A batch that has been taken out of the kernel and must reach ClickHouse.
public struct ExportBatch: Sendable {
    /// Its number in this agent process.
    public let sequence: UInt64
    /// Its bytes on the wire, the frame's length included. They never change: a resend is recognisable.
    public let frame: ByteBuffer
    /// Flows in it.
    public let flows: Int
    /// Network bytes that those flows report.
    public let reportedBytes: UInt64

    /// Makes a batch of its parts.
    public init(sequence: UInt64, frame: ByteBuffer, flows: Int, reportedBytes: UInt64) {
        self.sequence = sequence
        self.frame = frame
        self.flows = flows
        self.reportedBytes = reportedBytes
    }
}
