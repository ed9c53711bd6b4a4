// SPDX-License-Identifier: Apache-2.0

import FlowWire

/// The identity of a batch on the wire, by which a server recognises a batch that is sent again.
struct BatchKey: Hashable {
    /// The agent process that numbered the batch.
    let agentID: AgentID
    /// The batch's number in that process.
    let sequence: UInt64
}

/// An unacknowledged batch with the agent process that numbered it: this one, or a predecessor that left it in the spool
/// directory.
struct SpooledBatch: Sendable {
    let agentID: AgentID
    let batch: ExportBatch
    /// The block in which a server may have inserted the batch.
    var block: AnnouncedBlock?

    var key: BatchKey { BatchKey(agentID: agentID, sequence: batch.sequence) }
}
