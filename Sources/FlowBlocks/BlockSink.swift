// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A destination of finished blocks, such as a table of ClickHouse.
///
/// A sink tells its ``SinkAccount`` of each block that it takes, what it holds of the block, and what became of it. Counts and
/// memory are kept there alone.
public protocol BlockSink: Sendable {
    /// The form in which the sink stores rows. Never changes.
    var form: BlockForm { get }

    /// What the sink holds, and what keeps it from its work.
    var load: SinkLoad { get }

    /// Takes a block that has rows, and returns at once.
    ///
    /// - Parameters:
    ///   - block: The block, in the sink's account before the call returns (``SinkAccount/deliver(_:settled:)``).
    ///   - settled: Called once from any thread, when the block is stored or rejected; never where every batch of the block
    ///     was withdrawn or the sink ends before.
    func submit(_ block: FlowBlock, settled: @escaping @Sendable (BlockSettlement) -> Void)

    /// Takes batches out of the blocks of which nothing has left the sink. Their flows are neither stored nor settled.
    ///
    /// - Returns: The batches that were taken out. The sink does not have the others, or may have sent them already.
    func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity>
}

/// What a sink holds, and what keeps it from its work.
public struct SinkLoad: Equatable, Sendable {
    /// The memory of its blocks in bytes.
    public let heldBytes: Int
    /// Time since the oldest block was submitted, nil where there is none; blocks that are set aside do not count.
    public let oldestWait: Duration?
    /// Why the sink cannot do its work, nil while it can. A failure that may pass by itself is none.
    public let problem: String?

    /// Makes a load of its parts.
    public init(heldBytes: Int, oldestWait: Duration?, problem: String?) {
        self.heldBytes = heldBytes
        self.oldestWait = oldestWait
        self.problem = problem
    }
}
