// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// A frame that is sent next.
struct OutgoingFrame: Equatable, Sendable {
    let frame: ByteBuffer
    /// For a batch of this process, ``ExportBatch/wallLead``.
    let wallLead: Int64?

    /// Makes a frame from its parts.
    init(_ frame: ByteBuffer, wallLead: Int64? = nil) {
        self.frame = frame
        self.wallLead = wallLead
    }
}
