// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import FlowWire

/// The destination of batches. There is one sink per event loop, and it is called on that loop only.
public protocol FlowSink: AnyObject {
    /// Takes a batch. The agent keeps its copy until `receipt` is acknowledged.
    func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt)

    /// Gives up batches whose agent sends them again on another connection, likely to another server. Called while
    /// no batch is received on any event loop, so it must be quick.
    ///
    /// - Returns: The batches that will not be stored. The sink does not have the others, or may have stored them.
    func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity>

    /// Takes the addresses that the agent's host has from now on, at most ``Hello/maximumHostAddresses``. Called before
    /// the agent's first batch if its `Hello` carries them, and at most once a second per connection.
    func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress])
}

/// The agent at the other end of a connection.
public struct ConnectedAgent: Sendable {
    /// The agent's `Hello`, without its token and its host's addresses.
    public let hello: Hello
    /// The agent's address, for logs.
    public let remoteAddress: String
}
