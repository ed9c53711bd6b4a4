// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A destination of finished blocks, such as a table of ClickHouse.
///
/// For each block, a sink reports its receipt, the memory it takes and its outcome to the ``SinkAccount``. Counts and
/// memory are kept there alone.
public protocol BlockSink: Sendable {
    /// The form in which the sink stores rows. Columns can be added while blocks are filled.
    var form: BlockForm { get }

    /// The sink's current load.
    var load: SinkLoad { get }

    /// Accepts a block that has rows, and returns immediately.
    ///
    /// - Parameters:
    ///   - block: The block. The sink enters it in its account before the call returns
    ///     (``SinkAccount/deliver(_:isAtRisk:settled:)``).
    ///   - isAtRisk: Returns whether an agent of the block has gone, so that another server may fence the block. A sink
    ///     whose blocks can be fenced calls it before it counts one as stored. Callable from any thread, but not under
    ///     a lock that ``withdraw(_:)`` takes.
    ///   - settled: Called once from any thread, when the block is stored or rejected; never if every batch of the
    ///     block was withdrawn or the sink ends before.
    func submit(
        _ block: FlowBlock, isAtRisk: @escaping @Sendable () -> Bool,
        settled: @escaping @Sendable (BlockSettlement) -> Void)

    /// Removes batches from the blocks of which no part has left the sink. Their flows are neither stored nor settled.
    ///
    /// - Returns: The batches that were removed. The sink does not have the others, or may have sent them already.
    func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity>
}

/// The memory and the waiting time of a sink's blocks, and the problem that stops the sink.
public struct SinkLoad: Equatable, Sendable {
    /// The memory of its blocks, in bytes.
    public let heldBytes: Int
    /// Time since the oldest block was submitted, without blocks that are set aside; nil if there is none.
    public let oldestWait: Duration?
    /// The problem that stops the sink; nil if there is none. Failures that may pass by themselves are not reported.
    public let problem: String?

    /// Makes a load from its parts.
    public init(heldBytes: Int, oldestWait: Duration?, problem: String?) {
        self.heldBytes = heldBytes
        self.oldestWait = oldestWait
        self.problem = problem
    }
}
