// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A connection that has ended, as its event reports it.
public struct EndedConnection: Sendable {
    /// The connection's flow, with its counters since it was last collected.
    public var flow: Flow

    /// Makes an ended connection from its flow.
    public init(_ flow: Flow) { self.flow = flow }
}
