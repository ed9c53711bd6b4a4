// SPDX-License-Identifier: Apache-2.0

public import FlowWire

/// Finds out whether blocks that other server processes may have inserted are in ClickHouse.
public protocol DoubtSettler: Sendable {
    /// Finds out the fates of an agent's blocks, which may take as long as ClickHouse is away. `settled` is called from
    /// any thread, in parts or at once; not for blocks whose fates are unknown when the server ends.
    func settle(_ doubts: [Doubt], settled: @escaping @Sendable ([SettledDoubt]) -> Void)
}
