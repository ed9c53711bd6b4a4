// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// The final outcome of rows in a sink.
public enum BlockOutcome: Equatable, Sendable {
    /// The sink has stored the rows.
    case stored
    /// The sink will never store the rows, for a reason that is fit for a metric's label.
    case rejected(reason: String)
}

/// The final state of a block in a sink.
public struct BlockSettlement: Equatable, Sendable {
    /// Rejected if any part of the block was, for the reason of the first rejected part.
    public let outcome: BlockOutcome
    /// The batches that were withdrawn from the block; the outcome does not apply to them.
    public let withdrawn: Set<BatchIdentity>
    /// True if the block was fenced: another server has taken its deduplication token, so that its rows are not stored
    /// and never will be. All of its batches are ``withdrawn``.
    public var isVoid = false
}
