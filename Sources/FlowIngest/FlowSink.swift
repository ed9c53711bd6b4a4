// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import FlowWire

/// Where batches go. There is one sink for each event loop, and it is only ever called on that loop.
public protocol FlowSink: AnyObject {
    /// Takes a batch. The agent keeps its copy until `receipt` is acknowledged.
    func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt)

    /// Takes the addresses that the agent's host has from now on, at most ``Hello/maximumHostAddresses``. Called before the
    /// agent's first batch where its `Hello` tells them, and at most once a second for each connection.
    func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress])
}

/// The agent at the other end of a connection.
public struct ConnectedAgent: Sendable {
    /// How it introduced itself, without its token and its host's addresses.
    public let hello: Hello
    /// Its address, for logs.
    public let remoteAddress: String
}
