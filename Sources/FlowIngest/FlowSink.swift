// SPDX-License-Identifier: Apache-2.0

public import FlowWire

/// Where batches go. There is one sink for each event loop, and it is only ever called on that loop.
public protocol FlowSink: AnyObject {
    /// Takes a batch. The agent keeps its copy until `receipt` is acknowledged.
    func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt)
}

/// The agent at the other end of a connection.
public struct ConnectedAgent: Sendable {
    /// How it introduced itself.
    public let hello: Hello
    /// Its address, for logs.
    public let remoteAddress: String
}
