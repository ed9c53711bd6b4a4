// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A connection that has ended, as its event tells of it.
public struct EndedConnection: Sendable {
    /// What it had carried since it was last collected.
    public var flow: Flow

    /// Makes an ended connection of its flow.
    public init(_ flow: Flow) { self.flow = flow }
}
