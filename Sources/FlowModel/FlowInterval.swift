// SPDX-License-Identifier: Apache-2.0

/// The interval at which flows are recorded: the resolution of the table. Counters of one connection within one interval may
/// be added up, by the agent, the server or ClickHouse, and nothing is lost.
public enum FlowInterval {
    // Inlined everywhere: a division by a constant is a multiplication.

    /// The interval's length in seconds.
    @inlinable public static var seconds: UInt32 { 60 }

    /// The interval's length in milliseconds.
    @inlinable public static var milliseconds: UInt64 { 60_000 }
}
