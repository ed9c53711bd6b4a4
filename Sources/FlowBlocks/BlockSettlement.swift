// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// What became of rows in a sink, for good.
public enum BlockOutcome: Equatable, Sendable {
    /// The sink has the rows.
    case stored
    /// The sink never takes the rows, for a reason that is fit for a metric's label.
    case rejected(reason: String)
}

/// The end of a block in a sink.
public struct BlockSettlement: Equatable, Sendable {
    /// Rejected where a part of the block was, for the reason of the part that was rejected first.
    public let outcome: BlockOutcome
    /// The batches that were taken out of the block before: the settlement is not theirs.
    public let withdrawn: Set<BatchIdentity>
}
