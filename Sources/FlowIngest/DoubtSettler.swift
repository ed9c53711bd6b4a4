// SPDX-License-Identifier: Apache-2.0

public import FlowWire

/// Finds out whether blocks that other server processes may have inserted are in ClickHouse.
public protocol DoubtSettler: Sendable {
    /// Finds out the fates of an agent's blocks, which may take as long as ClickHouse is away.
    ///
    /// - Parameters:
    ///   - doubts: The blocks.
    ///   - isWanted: Returns whether the agent still waits; if not, the question is dropped.
    ///   - settled: Called with all fates, from any thread; not if the question was dropped or the server ends.
    func settle(
        _ doubts: [Doubt], isWanted: @escaping @Sendable () -> Bool,
        settled: @escaping @Sendable ([SettledDoubt]) -> Void)
}
